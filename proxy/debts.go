package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// debts are the requests that a client waits for, as far as they have to outlive this process: whoever serves the pipes
// next answers them. Without a ledger there are none.
type debts struct {
	ledger *transport.Ledger
	mu     sync.Mutex
	slots  map[string]int32 // by wire.Key of the id
	former []string         // ids of what a former process owed
}

// newDebts takes over what a former process owed, and what it may have been dealing with when it ended: nobody knows
// whether that was forwarded, and nothing is forwarded twice.
func newDebts(ledger *transport.Ledger) *debts {
	d := &debts{ledger: ledger, slots: map[string]int32{}}
	for slot, id := range ledger.Owed() {
		if !isID(id) {
			ledger.Paid(slot)
			continue
		}
		d.slots[wire.Key(id)] = slot
		d.former = append(d.former, id)
	}
	inHand := func(id string) {
		if d.owe(id) != "" {
			d.former = append(d.former, id)
		}
	}
	if last := ledger.InHand(); last != nil {
		frame, err := wire.Parse(last, wire.FromClient)
		var refused *wire.Error
		if errors.As(err, &refused) {
			inHand(refused.ID)
		}
		for i := range frame.Messages {
			if m := &frame.Messages[i]; m.Kind == wire.Request {
				inHand(m.ID)
			}
		}
	}
	return d
}

// isID reports whether text is the id of a message: a ledger holds whatever another process has written there.
func isID(text string) bool {
	frame, err := wire.Parse([]byte(`{"jsonrpc":"2.0","id":`+text+`,"method":"ping"}`), wire.FromClient)
	return err == nil && frame.Messages[0].ID == text
}

// owe notes a request. It returns what pays it: the key of its id, empty if another request with this id is unanswered.
func (d *debts) owe(id string) (key string) {
	if d.ledger == nil || id == "" {
		return ""
	}
	key = wire.Key(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, taken := d.slots[key]; taken {
		return ""
	}
	d.slots[key] = d.ledger.Owe(id)
	return key
}

// pay notes that requests have been answered, or that nobody waits for the answer any more.
func (d *debts) pay(keys ...string) {
	if d.ledger == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		if slot, owed := d.slots[key]; owed {
			d.ledger.Paid(slot)
			delete(d.slots, key)
		}
	}
}

// inherited returns the answers to what a former process left unanswered.
func (d *debts) inherited() (keys []string, answers [][]byte) {
	for _, id := range d.former {
		keys = append(keys, wire.Key(id))
		answers = append(answers, wire.ErrorReply(id, wire.CodeUnavailable,
			"Umpire was restarted before the answer came; whether the server has done what was asked is not known"))
	}
	return keys, answers
}

// greetingOf returns the request by which a client began a conversation, as a ledger has it.
func greetingOf(text []byte) (*wire.Message, error) {
	frame, err := wire.Parse(text, wire.FromClient)
	if err != nil {
		return nil, err
	}
	if m := &frame.Messages[0]; !frame.Batch && m.Kind == wire.Request && m.Method == "initialize" {
		return m, nil
	}
	return nil, errors.New("no initialize")
}

// greeted tells l and its ledger how the client began the conversation, if a former process heard that.
func (l *Link) greeted() {
	if m, err := greetingOf(l.ledger.Greeting()); err == nil {
		l.mu.Lock()
		l.learn(m)
		l.mu.Unlock()
	}
}

// Rejoin begins a conversation anew on a connection to a server that does not know of the one that a client began by
// greeting: the client has had its answer. When ctx is done first, it closes the connection.
func Rejoin(ctx context.Context, server Conn, greeting []byte) error {
	asked, err := greetingOf(greeting)
	if err != nil {
		return fmt.Errorf("proxy: what the client began with: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { server.Close() }) //nolint:errcheck // ends the read in progress
	defer stop()
	if err := server.Write(greeting); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	for key := wire.Key(asked.ID); ; {
		data, err := server.Read()
		if err != nil {
			return fmt.Errorf("proxy: the server does not begin anew: %w", err)
		}
		answer, err := wire.Parse(data, wire.FromServer)
		if err != nil {
			continue // it is not what is waited for
		}
		if m := &answer.Messages[0]; m.Kind == wire.Response && wire.Key(m.ID) == key {
			if m.Error.Exists() {
				return fmt.Errorf("proxy: the server does not begin anew: %.200s", m.Error.Get("message").Str)
			}
			return server.Write([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
		}
	}
}
