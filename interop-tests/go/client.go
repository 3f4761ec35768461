package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// remote calls an agent. It makes one call at a time, like a client of the Go adapter. Unlike that
// client, it checks the ids of answers.
type remote struct {
	endpoint string
	name     string
	conn     connection
}

// connection is a connection of frames or of WebSocket, or a client of HTTP.
type connection interface {
	send(payload []byte) error
	receive() ([]byte, error)
	close() error
}

// remoteError is an error that the server has answered.
type remoteError struct {
	code    string
	text    string
	details map[string]any
}

func (e *remoteError) Error() string {
	return e.code + ": " + e.text
}

func dial(endpoint string) (connection, error) {
	scheme, address, _ := strings.Cut(endpoint, "://")
	switch scheme {
	case "unix", "tcp":
		conn, err := net.Dial(scheme, address)
		if err != nil {
			return nil, err
		}
		return newFrames(conn), nil
	case "ws":
		return dialWebSocket(endpoint)
	case "http":
		return dialHTTP(endpoint)
	}
	return nil, fmt.Errorf("unsupported endpoint: %s", endpoint)
}

// exchange sends a request and passes each answer to take, which returns whether more are to come.
// After a failure, the next exchange connects again.
func (r *remote) exchange(request *envelope, take func(*envelope) (bool, error)) error {
	if r.conn == nil {
		conn, err := dial(r.endpoint)
		if err != nil {
			return err
		}
		r.conn = conn
	}
	lost := func(err error) error {
		r.close()
		return err
	}
	if err := r.conn.send(request.encode()); err != nil {
		return lost(err)
	}
	for {
		payload, err := r.conn.receive()
		if err != nil {
			return lost(err)
		}
		answer, err := decode(payload)
		if err != nil {
			return lost(err)
		}
		// The id of a request that is too large is not read (PROTOCOL 2.4).
		isUnknown := answer.Type == "error" && answer.ID == "unknown"
		if answer.ID != request.ID && !isUnknown {
			return lost(fmt.Errorf("the answer has the id %s instead of %s", answer.ID, request.ID))
		}
		if answer.Type == "error" {
			return &remoteError{
				code:    answer.Payload["error_code"].(string),
				text:    answer.Payload["error_message"].(string),
				details: answer.Payload["error_details"].(map[string]any),
			}
		}
		if more, err := take(answer); err != nil {
			return lost(err)
		} else if !more {
			return nil
		}
	}
}

func (r *remote) call(method string, m message) *envelope {
	payload := map[string]any{"method": method, "message": m.payload()}
	if r.name != "" {
		payload["agent_name"] = r.name
	}
	return newRequest(payload)
}

func (r *remote) process(m message) (message, error) {
	var reply message
	err := r.exchange(r.call("process", m), func(answer *envelope) (bool, error) {
		if answer.Type != "response" {
			return false, fmt.Errorf("expected 'response' but got '%s'", answer.Type)
		}
		reply = readMessage(answer.Payload["message"].(map[string]any))
		return false, nil
	})
	return reply, err
}

// stream returns the chunks that arrived, and the failure that ended the stream, if any.
func (r *remote) stream(m message) ([]message, error) {
	var chunks []message
	err := r.exchange(r.call("stream", m), func(answer *envelope) (bool, error) {
		switch answer.Type {
		case "stream_chunk":
			chunks = append(chunks, readMessage(answer.Payload["message"].(map[string]any)))
			return true, nil
		case "stream_end":
			return false, nil
		}
		return false, fmt.Errorf("expected a chunk but got '%s'", answer.Type)
	})
	return chunks, err
}

// ask sends any request, and returns the payload of its answer.
func (r *remote) ask(payload map[string]any) (map[string]any, error) {
	var found map[string]any
	err := r.exchange(newRequest(payload), func(answer *envelope) (bool, error) {
		found = answer.Payload
		return false, nil
	})
	return found, err
}

func (r *remote) close() {
	if r.conn != nil {
		r.conn.close()
		r.conn = nil
	}
}

// httpClient sends a request in each exchange, and receives its body or its events.
type httpClient struct {
	base     string
	client   http.Client
	response *http.Response
	events   *bufio.Reader
}

// dialHTTP checks that the server answers, like a client of the Go adapter.
func dialHTTP(endpoint string) (connection, error) {
	c := &httpClient{base: strings.TrimRight(endpoint, "/"), client: http.Client{
		Transport: &http.Transport{},
	}}
	answer, err := c.client.Head(c.base + "/health")
	if err != nil {
		return nil, err
	}
	return c, answer.Body.Close()
}

func (c *httpClient) send(payload []byte) error {
	request, err := decode(payload)
	if err != nil {
		return err
	}
	c.finish()
	path := "/process"
	switch request.Payload["method"] {
	case "stream":
		path = "/stream"
	case "execute":
		path = "/execute"
	}
	post, err := http.NewRequest(http.MethodPost, c.base+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/json")
	if path == "/stream" {
		post.Header.Set("Accept", "text/event-stream")
	}
	c.response, err = c.client.Do(post)
	if err != nil {
		return err
	}
	if strings.HasPrefix(c.response.Header.Get("Content-Type"), "text/event-stream") {
		c.events = bufio.NewReader(c.response.Body)
	}
	return nil
}

func (c *httpClient) receive() ([]byte, error) {
	if c.response == nil {
		return nil, errors.New("no answer is pending")
	}
	if c.events != nil {
		return c.receiveEvent()
	}
	body, err := io.ReadAll(c.response.Body)
	if kind := c.response.Header.Get("Content-Type"); kind != "application/json" {
		err = fmt.Errorf("HTTP error %d: %s", c.response.StatusCode, body)
	} else if (c.response.StatusCode == http.StatusOK) == bytes.Contains(body, []byte("error_code")) {
		err = fmt.Errorf("status %d does not fit %s", c.response.StatusCode, body)
	}
	c.finish()
	return body, err
}

// receiveEvent reads one event. Only lines that begin with "data: " count.
func (c *httpClient) receiveEvent() ([]byte, error) {
	var data []byte
	for {
		line, err := c.events.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("the stream ended early: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && len(data) > 0 {
			return data, nil
		}
		if part := bytes.TrimPrefix(line, []byte("data: ")); len(part) < len(line) {
			data = append(data, part...)
		}
	}
}

// finish reads the rest of an answer, so that the connection can be used again.
func (c *httpClient) finish() {
	if c.response != nil {
		io.Copy(io.Discard, c.response.Body)
		c.response.Body.Close()
		c.response, c.events = nil, nil
	}
}

func (c *httpClient) close() error {
	if c.response != nil {
		c.response.Body.Close()
	}
	c.client.CloseIdleConnections()
	return nil
}
