package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// envelope is the content of a frame, a WebSocket message or a body (PROTOCOL 2).
type envelope struct {
	Version   string         `json:"version"`
	Type      string         `json:"type"`
	ID        string         `json:"id"`
	Timestamp string         `json:"timestamp"`
	Payload   map[string]any `json:"payload"`
}

var envelopeTypes = map[string]bool{
	"request": true, "response": true, "error": true, "heartbeat": true,
	"register": true, "unregister": true, "stream_chunk": true, "stream_end": true,
}

func newEnvelope(kind, id string, payload map[string]any) *envelope {
	return &envelope{"1.0", kind, id, time.Now().UTC().Format(time.RFC3339Nano), payload}
}

func newRequest(payload map[string]any) *envelope {
	return newEnvelope("request", newID(), payload)
}

func newError(id, code, text string) *envelope {
	return newEnvelope("error", id, map[string]any{
		"error_code": code, "error_message": text, "error_details": map[string]any{},
	})
}

// newID returns a random UUID of version 4.
func newID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// encode writes compact JSON. The keys of the payload are sorted, <, > and & are escaped, and
// integers beyond 2^53 have lost digits, as in the Go adapter (PROTOCOL 11).
func (e *envelope) encode() []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return data
}

func decode(data []byte) (*envelope, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("failed to decode JSON: not UTF-8")
	}
	e := new(envelope)
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("failed to decode JSON: %w", err)
	}
	switch {
	case e.Version != "1.0":
		return nil, fmt.Errorf("unsupported protocol version: %s", e.Version)
	case !envelopeTypes[e.Type]:
		return nil, fmt.Errorf("invalid message type: %s", e.Type)
	case e.ID == "":
		return nil, errors.New("missing 'id' field in envelope")
	case e.Payload == nil:
		return nil, errors.New("missing 'payload' field in envelope")
	}
	return e, nil
}

// message is what agents and their callers exchange. Go knows only text as content.
type message struct {
	role     string
	content  string
	metadata map[string]any
}

func (m message) payload() map[string]any {
	metadata := m.metadata
	if metadata == nil {
		metadata = map[string]any{}
	}
	return map[string]any{
		"role":      m.role,
		"content":   m.content,
		"metadata":  metadata,
		"timestamp": time.Now().UTC().Format(time.RFC3339Nano),
	}
}

// readMessage reads a message and panics if a key is missing or has a value of another type. In a
// server of frames, the panic ends the process, and in a server of HTTP, the connection. This is how
// the Go adapter behaves, and the reason for PeerKind::Go (PROTOCOL 11).
func readMessage(data map[string]any) message {
	_ = data["timestamp"].(string)
	return message{
		role:     data["role"].(string),
		content:  data["content"].(string),
		metadata: data["metadata"].(map[string]any),
	}
}
