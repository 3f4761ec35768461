package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// webHandler serves HTTP and WebSocket on one port (PROTOCOL 15.1 and 15.2).
func webHandler(a *agent) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		}
	})
	mux.HandleFunc("/process", func(w http.ResponseWriter, r *http.Request) {
		id, m, err := readBody(w, r)
		if err != nil {
			return
		}
		reply, err := a.process(r.Context(), m)
		if err != nil {
			refuse(w, newError(id, "EXECUTION_ERROR", err.Error()))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		payload := map[string]any{"message": reply.payload()}
		w.Write(newEnvelope("response", id, payload).encode())
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		if a.mute {
			text := "agent does not support streaming"
			refuse(w, newError("unknown", "NOT_IMPLEMENTED", text))
			return
		}
		id, m, err := readBody(w, r)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		answerStream(a, id, m, func(e *envelope) error {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", e.encode()); err != nil {
				return err
			}
			w.(http.Flusher).Flush()
			return r.Context().Err()
		})
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		socket, err := acceptWebSocket(w, r)
		if err != nil {
			return
		}
		defer socket.conn.Close()
		for {
			payload, err := socket.receive()
			if err != nil || answerMessage(socket, payload, a) != nil {
				return
			}
		}
	})
	return mux
}

// readBody reads the message of a request. If it fails, it has answered the request.
func readBody(w http.ResponseWriter, r *http.Request) (string, message, error) {
	fail := func(id, text string) (string, message, error) {
		refuse(w, newError(id, "INVALID_MESSAGE", text))
		return "", message{}, errors.New(text)
	}
	if r.Method != http.MethodPost {
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return "", message{}, errors.New("method not allowed")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fail("unknown", "failed to read request body")
	}
	request, err := decode(body)
	if err != nil {
		return fail("unknown", "failed to decode request")
	}
	data, ok := request.Payload["message"].(map[string]any)
	if !ok {
		return fail(request.ID, "invalid message format")
	}
	return request.ID, readMessage(data), nil
}

func refuse(w http.ResponseWriter, e *envelope) {
	status := http.StatusInternalServerError
	switch e.Payload["error_code"] {
	case "INVALID_MESSAGE":
		status = http.StatusBadRequest
	case "NOT_IMPLEMENTED":
		status = http.StatusNotImplemented
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(e.encode())
}

// answerMessage answers one request over WebSocket. Unlike over frames, the connection stays open
// after a request that is no call.
func answerMessage(socket *webSocket, payload []byte, a *agent) error {
	send := func(e *envelope) error { return socket.send(e.encode()) }
	if socket.lastWasText {
		return send(newError("unknown", "INVALID_MESSAGE", "only binary messages are supported"))
	}
	request, err := decode(payload)
	if err != nil {
		return send(newError("unknown", "INVALID_MESSAGE", "failed to decode request"))
	}
	invalid := func(text string) error {
		return send(newError(request.ID, "INVALID_MESSAGE", text))
	}
	method, ok := request.Payload["method"].(string)
	if !ok {
		return invalid("missing method in payload")
	}
	if method != "process" && method != "stream" {
		return invalid("unknown method: " + method)
	}
	data, ok := request.Payload["message"].(map[string]any)
	if !ok {
		return invalid("invalid message format")
	}
	if method == "stream" {
		return answerStream(a, request.ID, readMessage(data), send)
	}
	reply, err := a.process(context.Background(), readMessage(data))
	if err != nil {
		return send(newError(request.ID, "EXECUTION_ERROR", err.Error()))
	}
	return send(newEnvelope("response", request.ID, map[string]any{"message": reply.payload()}))
}
