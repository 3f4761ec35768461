package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
)

// cases are the named cases that a client in Go runs. Those that Rust and Python have, too, have the
// same names there. Each case is a client of a server that runs the interop agent.
var cases = map[string]func(endpoint string) error{
	"simple_call":        simpleCall,
	"unicode":            unicodeTexts,
	"metadata":           metadataValues,
	"empty_message":      emptyMessage,
	"one_mib_message":    oneMiB,
	"ten_mib_message":    tenMiB,
	"too_large_message":  tooLarge,
	"stream_zero":        streamOf(0),
	"stream_one":         streamOf(1),
	"stream_many":        streamOf(1000),
	"agent_error":        agentError,
	"error_mid_stream":   errorMidStream,
	"no_streaming":       noStreaming,
	"unknown_tool":       unknownTool,
	"unknown_method":     unknownMethod,
	"describe":           describe,
	"wrong_type":         wrongType,
	"bad_json":           badJSON,
	"sequential_calls":   sequentialCalls,
	"concurrent_clients": concurrentClients,
	"server_restart":     serverRestart,
}

const mib = 1024 * 1024

func interop(endpoint string) *remote {
	return &remote{endpoint: endpoint, name: "interop"}
}

func echo(r *remote, content string, metadata map[string]any) error {
	reply, err := r.process(message{"user", content, metadata})
	if err != nil {
		return err
	}
	if metadata == nil {
		metadata = map[string]any{}
	}
	if reply.role != "agent" || reply.content != content {
		return fmt.Errorf("expected %.200q, got %s %.200q", content, reply.role, reply.content)
	}
	if !reflect.DeepEqual(reply.metadata, metadata) {
		return fmt.Errorf("expected the metadata %v, got %v", metadata, reply.metadata)
	}
	return nil
}

func simpleCall(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	return echo(r, "hello", nil)
}

func unicodeTexts(endpoint string) error {
	var planes, controls strings.Builder
	for plane := rune(0); plane < 17; plane++ {
		planes.WriteRune(plane<<16 | 0xe9)
	}
	for c := rune(0); c < 0xa0; c++ {
		controls.WriteRune(c)
	}
	r := interop(endpoint)
	defer r.close()
	for _, text := range []string{
		planes.String(),
		controls.String(),
		"\U0001f600 \u05e9\u05dc\u05d5\u05dd e\u0301 \u00e9",
		"\u2028\u2029\u0085\u00a0\u200b\ufeff",
		"\"\\/\b\f\n\r\t <>& \\u0041 \\n data: x\n\ndata: y",
	} {
		key := string([]rune(text)[:5])
		if err := echo(r, text, map[string]any{key: text}); err != nil {
			return err
		}
	}
	return nil
}

// metadataValues sends values of each kind. Go reads numbers as 64-bit floats.
func metadataValues(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	return echo(r, "with metadata", map[string]any{
		"null": nil, "true": true, "number": 1.5, "integer": 9007199254740992.0, "small": -7.0,
		"tiny": 5e-324, "huge": 1.5e300, "list": []any{"a", []any{}, map[string]any{"b": "c"}},
	})
}

func emptyMessage(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	return echo(r, "", nil)
}

func oneMiB(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	for _, pattern := range []string{"0123456789abcdef", "\u00e9\U0001f600\u00f6"} {
		if err := echo(r, strings.Repeat(pattern, mib/len(pattern)), nil); err != nil {
			return err
		}
	}
	return nil
}

// sized returns a call of process whose envelope has a size in bytes.
func sized(r *remote, size int) *envelope {
	request := r.call("process", message{"user", "", nil})
	content := strings.Repeat("x", size-len(request.encode()))
	request.Payload["message"].(map[string]any)["content"] = content
	return request
}

// tenMiB sends a request of exactly the limit (PROTOCOL 1.3). Its answer fits the limit, too.
func tenMiB(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	request := sized(r, 10*mib)
	content := request.Payload["message"].(map[string]any)["content"]
	return r.exchange(request, func(answer *envelope) (bool, error) {
		reply := readMessage(answer.Payload["message"].(map[string]any))
		if reply.content != content {
			return false, fmt.Errorf("the content of %d bytes differs", len(reply.content))
		}
		return false, nil
	})
}

// tooLarge sends one byte more. The server refuses it and goes on serving.
func tooLarge(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	err := r.exchange(sized(r, 10*mib+1), func(answer *envelope) (bool, error) {
		return false, fmt.Errorf("expected a refusal, got '%s'", answer.Type)
	})
	var refused *remoteError
	var closed *closeError
	switch {
	case errors.As(err, &closed) && closed.code == closeTooBig:
	case errors.As(err, &refused) && refused.code == "MALFORMED_PAYLOAD":
	case err != nil && isReset(err):
		// The server has closed the connection while the rest of the message was being written.
	default:
		return fmt.Errorf("expected a refusal, got %v", err)
	}
	r.close()
	return echo(r, "after the refusal", nil)
}

func isReset(err error) bool {
	text := err.Error()
	return strings.Contains(text, "reset") || strings.Contains(text, "broken pipe")
}

func streamOf(count int) func(string) error {
	return func(endpoint string) error {
		r := interop(endpoint)
		defer r.close()
		metadata := map[string]any{"count": float64(count)}
		chunks, err := r.stream(message{"user", "chunk", metadata})
		if err != nil {
			return err
		}
		if err := expectChunks(chunks, "chunk", count); err != nil {
			return err
		}
		return echo(r, "after the stream", nil)
	}
}

func expectChunks(chunks []message, content string, count int) error {
	if len(chunks) != count {
		return fmt.Errorf("expected %d chunks, got %d", count, len(chunks))
	}
	for i, chunk := range chunks {
		wanted := message{"agent", fmt.Sprintf("%s #%d", content, i), map[string]any{"i": float64(i)}}
		if !reflect.DeepEqual(chunk, wanted) {
			return fmt.Errorf("expected the chunk %v, got %v", wanted, chunk)
		}
	}
	return nil
}

func expectError(err error, code, text string) error {
	var found *remoteError
	if !errors.As(err, &found) {
		return fmt.Errorf("expected an error of the server, got %v", err)
	}
	if found.code != code || found.text != text {
		return fmt.Errorf("expected %s: %s, got %v", code, text, found)
	}
	return nil
}

func agentError(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	for _, content := range []string{"it broke", "\u00e9 \U0001f600 \n \"quoted\" <>&", ""} {
		_, err := r.process(message{"user", content, map[string]any{"do": "fail"}})
		text := "deliberate failure: " + content
		if err := expectError(err, "INTERNAL_ERROR", text); err != nil {
			return err
		}
	}
	return echo(r, "after the error", nil)
}

func errorMidStream(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	for _, after := range []int{0, 2, 5} {
		metadata := map[string]any{"count": 5, "fail_after": after}
		chunks, err := r.stream(message{"user", "part", metadata})
		text := fmt.Sprintf("deliberate failure after %d", after)
		if err := expectError(err, "INTERNAL_ERROR", text); err != nil {
			return err
		}
		if err := expectChunks(chunks, "part", after); err != nil {
			return err
		}
	}
	return echo(r, "after the error", nil)
}

func noStreaming(endpoint string) error {
	r := &remote{endpoint: endpoint, name: "mute"}
	defer r.close()
	chunks, err := r.stream(message{"user", "sing", nil})
	if len(chunks) > 0 {
		return fmt.Errorf("expected no chunk, got %v", chunks)
	}
	text := "mute does not support streaming"
	if err := expectError(err, "INTERNAL_ERROR", text); err != nil {
		return err
	}
	return echo(r, "after the error", nil)
}

// unknownTool runs a tool of a server that has none.
func unknownTool(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	kwargs := map[string]any{"a": 1}
	_, err := r.ask(map[string]any{"method": "execute", "tool_name": "add", "kwargs": kwargs})
	var found *remoteError
	if !errors.As(err, &found) || found.code != "TOOL_NOT_FOUND" {
		return fmt.Errorf("expected TOOL_NOT_FOUND, got %v", err)
	}
	wanted := map[string]any{"tool_name": "add", "available": []any{}}
	if !reflect.DeepEqual(found.details, wanted) {
		return fmt.Errorf("expected the details %v, got %v", wanted, found.details)
	}
	return echo(r, "after the error", nil)
}

func unknownMethod(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	_, err := r.ask(map[string]any{"method": "dance"})
	if strings.HasPrefix(endpoint, "http://") {
		// The path of a request decides between process and stream (PROTOCOL 15.2).
		var found *remoteError
		if !errors.As(err, &found) {
			return fmt.Errorf("expected an error of the server, got %v", err)
		}
	} else if err := expectError(err, "INVALID_MESSAGE", "Unknown method: dance"); err != nil {
		return err
	}
	return echo(r, "after the error", nil)
}

// describe asks for the agents of the server, which only servers of this project know.
func describe(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	answer, err := r.ask(map[string]any{"method": "describe"})
	if err != nil {
		return err
	}
	agents, _ := answer["agents"].([]any)
	if len(agents) != 1 || agents[0].(map[string]any)["name"] != "interop" {
		return fmt.Errorf("the description has the agents %v", agents)
	}
	return nil
}

// wrongType sends an envelope that is no request. The connection stays open.
func wrongType(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	payload := map[string]any{"agent_name": "interop", "status": "healthy"}
	heartbeat := newEnvelope("heartbeat", newID(), payload)
	err := r.exchange(heartbeat, func(answer *envelope) (bool, error) {
		return false, fmt.Errorf("expected an error, got '%s'", answer.Type)
	})
	text := "Expected 'request' but got 'heartbeat'"
	if err := expectError(err, "INVALID_MESSAGE", text); err != nil {
		return err
	}
	return echo(r, "after the error", nil)
}

// badJSON sends bytes that are no envelope. Each is answered, and the connection stays open.
func badJSON(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	if err := echo(r, "before", nil); err != nil {
		return err
	}
	for bytes, code := range map[string]string{
		"{]":           "MALFORMED_PAYLOAD",
		"":             "MALFORMED_PAYLOAD",
		"\xff\xfe":     "MALFORMED_PAYLOAD",
		"[1, 2]":       "INVALID_MESSAGE",
		`{"type": "x"`: "MALFORMED_PAYLOAD",
	} {
		if err := r.conn.send([]byte(bytes)); err != nil {
			return err
		}
		payload, err := r.conn.receive()
		if err != nil {
			return fmt.Errorf("after %q: %w", bytes, err)
		}
		answer, err := decode(payload)
		if err != nil {
			return err
		}
		if answer.ID != "unknown" || answer.Payload["error_code"] != code {
			return fmt.Errorf("%q is answered with %s", bytes, payload)
		}
	}
	return echo(r, "after the errors", nil)
}

func sequentialCalls(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	for number := 0; number < 500; number++ {
		if err := echo(r, fmt.Sprintf("call %d", number), nil); err != nil {
			return err
		}
	}
	return nil
}

func concurrentClients(endpoint string) error {
	var group sync.WaitGroup
	failures := make(chan error, 32)
	for caller := 0; caller < 32; caller++ {
		caller := caller
		group.Add(1)
		go func() {
			defer group.Done()
			r := interop(endpoint)
			defer r.close()
			for number := 0; number < 20; number++ {
				text := fmt.Sprintf("client %d, call %d", caller, number)
				metadata := map[string]any{"client": fmt.Sprint(caller)}
				if err := echo(r, text, metadata); err != nil {
					failures <- fmt.Errorf("%s: %w", text, err)
					return
				}
			}
		}()
	}
	group.Wait()
	close(failures)
	return <-failures
}

// serverRestart prints RESTART, and waits for a line when another server runs at the endpoint.
func serverRestart(endpoint string) error {
	r := interop(endpoint)
	defer r.close()
	if err := echo(r, "before the restart", nil); err != nil {
		return err
	}
	fmt.Println("RESTART")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	// The first call may find out that its connection has ended.
	if err := echo(r, "after the restart", nil); err == nil {
		return nil
	}
	return echo(r, "after the restart", nil)
}
