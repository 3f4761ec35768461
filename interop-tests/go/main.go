// The command interop serves the interop agent in Go, and runs interop cases as a client in Go:
//
//	interop serve [--no-stream] ENDPOINT
//	interop call ENDPOINT CASE
//	interop list
//
// ENDPOINT is unix://PATH, tcp://HOST:PORT, ws://HOST:PORT/ws or http://HOST:PORT. A server prints
// READY ENDPOINT, with the port that it chose in the place of 0, and serves until the end of its
// standard input. A client prints "ok CASE" or "FAIL CASE: REASON".
//
// It implements PROTOCOL.md with the standard library alone, and is as strict as the Go adapter.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"
)

func main() {
	arguments := os.Args[1:]
	switch {
	case len(arguments) == 2 && arguments[0] == "serve":
		serve(arguments[1], &agent{})
	case len(arguments) == 3 && arguments[0] == "serve" && arguments[1] == "--no-stream":
		serve(arguments[2], &agent{mute: true})
	case len(arguments) == 3 && arguments[0] == "call" && cases[arguments[2]] != nil:
		call(arguments[1], arguments[2])
	case len(arguments) == 1 && arguments[0] == "list":
		var names []string
		for name := range cases {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
	default:
		fmt.Fprintln(os.Stderr, "usage: interop serve [--no-stream] ENDPOINT | call ENDPOINT CASE | list")
		os.Exit(2)
	}
}

// serve serves an agent until the end of standard input.
func serve(endpoint string, a *agent) {
	scheme, address, _ := strings.Cut(endpoint, "://")
	network, path := "tcp", ""
	switch scheme {
	case "unix":
		network = "unix"
	case "ws":
		address, path = strings.TrimSuffix(address, "/ws"), "/ws"
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	switch scheme {
	case "unix", "tcp":
		go serveFrames(listener, a)
	default:
		go http.Serve(listener, webHandler(a))
	}
	fmt.Printf("READY %s://%s%s\n", scheme, listener.Addr(), path)
	io.Copy(io.Discard, os.Stdin)
	// Removes the file of a Unix socket.
	listener.Close()
}

// call runs a case and exits with 1 if it fails.
func call(endpoint, name string) {
	result := make(chan error, 1)
	go func() { result <- cases[name](endpoint) }()
	var err error
	select {
	case err = <-result:
	case <-time.After(time.Minute):
		err = fmt.Errorf("not done within a minute")
	}
	if err != nil {
		fmt.Printf("FAIL %s: %.2000q\n", name, err.Error())
		os.Exit(1)
	}
	fmt.Printf("ok %s\n", name)
}
