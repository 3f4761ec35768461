package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// frames is a connection over a Unix socket or TCP: each payload follows its length (PROTOCOL 1).
type frames struct {
	conn   net.Conn
	reader *bufio.Reader
}

func newFrames(conn net.Conn) *frames {
	return &frames{conn, bufio.NewReader(conn)}
}

func (f *frames) send(payload []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(payload)), uint32(len(payload)))
	_, err := f.conn.Write(append(frame, payload...))
	return err
}

func (f *frames) receive() ([]byte, error) {
	var length uint32
	if err := binary.Read(f.reader, binary.BigEndian, &length); err != nil {
		return nil, err
	}
	payload := make([]byte, length)
	_, err := io.ReadFull(f.reader, payload)
	return payload, err
}

func (f *frames) close() error {
	return f.conn.Close()
}

// serveFrames accepts connections until the listener is closed.
func serveFrames(listener net.Listener, a *agent) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			f := newFrames(conn)
			for {
				payload, err := f.receive()
				if err != nil || answerFrame(f, payload, a) != nil {
					return
				}
			}
		}()
	}
}

var errClose = errors.New("the connection is closed after this answer")

// answerFrame answers one request. The requests of a connection are answered one after the other. A
// request that is no call ends the connection.
func answerFrame(f *frames, payload []byte, a *agent) error {
	last := func(e *envelope) error {
		if err := f.send(e.encode()); err != nil {
			return err
		}
		return errClose
	}
	request, err := decode(payload)
	if err != nil {
		return last(newError("unknown", "INVALID_MESSAGE", err.Error()))
	}
	method, ok := request.Payload["method"].(string)
	if !ok {
		return last(newError(request.ID, "INVALID_MESSAGE", "missing method"))
	}
	invalid := func(text string) error {
		return last(newError(request.ID, "INTERNAL_ERROR", "invalid message: "+text))
	}
	if request.Type != "request" {
		return invalid(fmt.Sprintf("expected 'request' but got '%s'", request.Type))
	}
	if method != "process" && method != "stream" {
		return invalid("unknown method: " + method)
	}
	data, ok := request.Payload["message"].(map[string]any)
	if !ok {
		return invalid("invalid message format")
	}
	send := func(e *envelope) error { return f.send(e.encode()) }
	if method == "stream" {
		return answerStream(a, request.ID, readMessage(data), send)
	}
	reply, err := a.process(context.Background(), readMessage(data))
	if err != nil {
		return send(newError(request.ID, "AGENT_ERROR", err.Error()))
	}
	return send(newEnvelope("response", request.ID, map[string]any{"message": reply.payload()}))
}

// answerStream answers a request with a stream, and fails only if send does.
func answerStream(a *agent, id string, m message, send func(*envelope) error) error {
	if a.mute {
		return send(newError(id, "NOT_IMPLEMENTED", "agent does not support streaming"))
	}
	var lost error
	err := a.stream(m, func(chunk message) error {
		payload := map[string]any{"message": chunk.payload()}
		lost = send(newEnvelope("stream_chunk", id, payload))
		return lost
	})
	switch {
	case lost != nil:
		return lost
	case err != nil:
		return send(newError(id, "STREAM_ERROR", err.Error()))
	}
	return send(newEnvelope("stream_end", id, map[string]any{}))
}
