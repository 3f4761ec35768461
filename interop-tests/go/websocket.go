package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	maxMessage = 10 * 1024 * 1024

	closeNormal   = 1000
	closeProtocol = 1002
	closeTooBig   = 1009
)

// webSocket is a connection of RFC 6455. A client masks its frames, and a server refuses frames that
// are not masked.
type webSocket struct {
	conn        net.Conn
	reader      *bufio.Reader
	isClient    bool
	lastWasText bool
}

// closeError is the reason for which the other side has closed the connection.
type closeError struct {
	code   uint16
	reason string
}

func (e *closeError) Error() string {
	return fmt.Sprintf("closed with %d %s", e.code, e.reason)
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// acceptWebSocket answers the handshake of a client.
func acceptWebSocket(w http.ResponseWriter, r *http.Request) (*webSocket, error) {
	key := r.Header.Get("Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") ||
		!strings.EqualFold(r.Header.Get("Connection"), "upgrade") ||
		r.Header.Get("Sec-WebSocket-Version") != "13" || err != nil || len(nonce) != 16 {
		http.Error(w, "not a handshake of WebSocket", http.StatusBadRequest)
		return nil, errors.New("not a handshake")
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil, err
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(key) + "\r\n\r\n"
	if _, err := conn.Write([]byte(answer)); err != nil {
		conn.Close()
		return nil, err
	}
	return &webSocket{conn: conn, reader: buffered.Reader}, nil
}

// dialWebSocket connects to a server and checks its answer to the handshake.
func dialWebSocket(endpoint string) (*webSocket, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", target.Host)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	key := base64.StdEncoding.EncodeToString(nonce)
	path := target.RequestURI()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n", path, target.Host, key)
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	accepted := answer.StatusCode == http.StatusSwitchingProtocols &&
		strings.EqualFold(answer.Header.Get("Upgrade"), "websocket") &&
		strings.EqualFold(answer.Header.Get("Connection"), "upgrade") &&
		answer.Header.Get("Sec-WebSocket-Accept") == acceptKey(key) &&
		answer.Header.Get("Sec-WebSocket-Extensions") == ""
	if !accepted {
		conn.Close()
		return nil, fmt.Errorf("the handshake was answered with %s %v", answer.Status, answer.Header)
	}
	return &webSocket{conn: conn, reader: reader, isClient: true}, nil
}

func (s *webSocket) send(payload []byte) error {
	return s.sendFrame(opBinary, payload)
}

func (s *webSocket) sendFrame(opcode byte, payload []byte) error {
	frame := make([]byte, 0, 14+len(payload))
	frame = append(frame, 0x80|opcode)
	masked := byte(0)
	if s.isClient {
		masked = 0x80
	}
	switch length := len(payload); {
	case length < 126:
		frame = append(frame, masked|byte(length))
	case length < 1<<16:
		frame = append(frame, masked|126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(length))
	default:
		frame = append(frame, masked|127)
		frame = binary.BigEndian.AppendUint64(frame, uint64(length))
	}
	if s.isClient {
		var mask [4]byte
		if _, err := rand.Read(mask[:]); err != nil {
			return err
		}
		frame = append(frame, mask[:]...)
		for i, b := range payload {
			frame = append(frame, b^mask[i%4])
		}
	} else {
		frame = append(frame, payload...)
	}
	_, err := s.conn.Write(frame)
	return err
}

// receive returns the next text or binary message. It answers pings and close frames.
func (s *webSocket) receive() ([]byte, error) {
	var payload []byte
	begun := false
	for {
		final, opcode, part, err := s.receiveFrame(len(payload))
		if err != nil {
			return nil, err
		}
		switch {
		case opcode == opPing:
			if err := s.sendFrame(opPong, part); err != nil {
				return nil, err
			}
			continue
		case opcode == opPong:
			continue
		case opcode == opClose:
			closed := &closeError{code: 1005}
			if len(part) >= 2 {
				closed.code, closed.reason = binary.BigEndian.Uint16(part), string(part[2:])
			}
			s.sendFrame(opClose, part)
			return nil, closed
		case opcode == opContinuation && !begun, opcode != opContinuation && begun:
			return nil, s.fail(closeProtocol, "unexpected continuation")
		case opcode == opText || opcode == opBinary:
			s.lastWasText, begun = opcode == opText, true
		}
		payload = append(payload, part...)
		if final {
			if s.lastWasText && !utf8.Valid(payload) {
				return nil, s.fail(1007, "not UTF-8")
			}
			return payload, nil
		}
	}
}

// receiveFrame reads one frame of a message of which received bytes have arrived.
func (s *webSocket) receiveFrame(received int) (bool, byte, []byte, error) {
	failed := func(err error) (bool, byte, []byte, error) { return false, 0, nil, err }
	var head [2]byte
	if _, err := io.ReadFull(s.reader, head[:]); err != nil {
		return failed(err)
	}
	final, opcode := head[0]&0x80 != 0, head[0]&0x0f
	masked, length := head[1]&0x80 != 0, uint64(head[1]&0x7f)
	if head[0]&0x70 != 0 {
		return failed(s.fail(closeProtocol, "reserved bits must be 0"))
	}
	if opcode > opBinary && opcode < opClose || opcode > opPong {
		return failed(s.fail(closeProtocol, "invalid opcode"))
	}
	if masked == s.isClient {
		return failed(s.fail(closeProtocol, "incorrect masking"))
	}
	if opcode >= opClose && (length > 125 || !final) {
		return failed(s.fail(closeProtocol, "invalid control frame"))
	}
	extended := map[uint64]int{126: 2, 127: 8}[length]
	if extended > 0 {
		var number [8]byte
		if _, err := io.ReadFull(s.reader, number[8-extended:]); err != nil {
			return failed(err)
		}
		length = binary.BigEndian.Uint64(number[:])
	}
	if opcode < opClose && length > uint64(maxMessage-received) {
		return failed(s.fail(closeTooBig, ""))
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(s.reader, mask[:]); err != nil {
			return failed(err)
		}
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(s.reader, payload); err != nil {
		return failed(err)
	}
	if masked {
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
	}
	return final, opcode, payload, nil
}

// fail closes the connection with a code.
func (s *webSocket) fail(code uint16, reason string) error {
	s.sendFrame(opClose, append(binary.BigEndian.AppendUint16(nil, code), reason...))
	return fmt.Errorf("failed with %d %s", code, reason)
}

func (s *webSocket) close() error {
	s.sendFrame(opClose, binary.BigEndian.AppendUint16(nil, closeNormal))
	return s.conn.Close()
}
