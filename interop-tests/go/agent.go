package main

import (
	"context"
	"fmt"
	"time"
)

// agent is the interop agent, which the docstring of python/serve.py defines. An agent that is mute
// cannot stream.
type agent struct {
	mute bool
}

func (a *agent) process(ctx context.Context, m message) (message, error) {
	switch do := m.metadata["do"]; do {
	case nil, "echo":
	case "fail":
		return message{}, fmt.Errorf("deliberate failure: %s", m.content)
	case "slow":
		ms, _ := m.metadata["ms"].(float64)
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-ctx.Done():
			return message{}, ctx.Err()
		}
	default:
		return message{}, fmt.Errorf("unknown behaviour: %v", do)
	}
	return message{"agent", m.content, m.metadata}, nil
}

// stream passes each chunk to send until send fails.
func (a *agent) stream(m message, send func(message) error) error {
	count, failure := 3, -1
	if number, ok := m.metadata["count"].(float64); ok {
		count = int(number)
	}
	if number, ok := m.metadata["fail_after"].(float64); ok && int(number) <= count {
		count, failure = int(number), int(number)
	}
	for i := 0; i < count; i++ {
		chunk := message{"agent", fmt.Sprintf("%s #%d", m.content, i), map[string]any{"i": i}}
		if err := send(chunk); err != nil {
			return err
		}
	}
	if failure >= 0 {
		return fmt.Errorf("deliberate failure after %d", failure)
	}
	return nil
}
