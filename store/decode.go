package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"runtime"

	"github.com/umpire-dev/umpire/rules/event"
)

// stored is an event as it is stored. Its bytes are a copy: the file behind a transaction can vanish, and only a fault in
// the goroutine that reads it is an error and not the end of the process.
type stored struct {
	seq uint64 // 0 if it is not known
	raw json.RawMessage
}

// Decode decodes what raw yields, in order. It decodes ahead of the caller, on every processor, so that a fold of many
// events waits for little else than itself. What stops raw stops it.
func Decode(raw iter.Seq2[json.RawMessage, error]) iter.Seq2[event.Event, error] {
	return DecodeWith(raw, nil)
}

// DecodeWith is Decode, and lets prepare do with each event what can be done ahead of the caller and on every processor, several
// events at a time.
func DecodeWith(raw iter.Seq2[json.RawMessage, error], prepare func(*event.Event)) iter.Seq2[event.Event, error] {
	return decode(func(yield func(stored, error) bool) {
		for text, err := range raw {
			if !yield(stored{raw: text}, err) {
				return
			}
		}
	}, prepare)
}

const (
	decodeAlone = 64  // the first events are decoded when they are asked for: most readers want few
	decodeChunk = 128 // then so many at once
)

// chunk is some events in a row.
type chunk struct {
	stored []stored
	events []event.Event
	err    error         // of the event behind the last one
	done   chan struct{} // closed once they are decoded
}

func (c *chunk) decode(prepare func(*event.Event)) {
	defer close(c.done)
	c.events = make([]event.Event, 0, len(c.stored))
	for _, s := range c.stored {
		e, err := s.event()
		if err != nil {
			c.err = err
			return
		}
		if prepare != nil {
			prepare(&e)
		}
		c.events = append(c.events, e)
	}
}

func (s stored) event() (e event.Event, err error) {
	switch err := e.UnmarshalJSON(s.raw); {
	case err != nil:
		return e, fmt.Errorf("%w: %w", ErrDamaged, err)
	case s.seq != 0 && e.Seq != s.seq:
		return e, fmt.Errorf("%w: event %d is stored as %d", ErrDamaged, e.Seq, s.seq)
	}
	return e, nil
}

func decode(from iter.Seq2[stored, error], prepare func(*event.Event)) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		var ahead []*chunk // oldest first
		defer func() {     // nothing goes on behind the reader's back
			for _, c := range ahead {
				<-c.done
			}
		}()
		deliver := func(most int) bool {
			for len(ahead) > most {
				c := ahead[0]
				<-c.done
				ahead = ahead[1:]
				for _, e := range c.events {
					if !yield(e, nil) {
						return false
					}
				}
				if c.err != nil {
					yield(event.Event{}, c.err)
					return false
				}
			}
			return true
		}
		next, n := &chunk{done: make(chan struct{})}, 0
		flush := func() {
			if len(next.stored) > 0 {
				ahead = append(ahead, next)
				go next.decode(prepare)
				next = &chunk{stored: make([]stored, 0, decodeChunk), done: make(chan struct{})}
			}
		}
		for s, err := range from {
			if err != nil {
				if flush(); deliver(0) {
					yield(event.Event{}, err)
				}
				return
			}
			if n++; n <= decodeAlone {
				e, err := s.event()
				if err == nil && prepare != nil {
					prepare(&e)
				}
				if !yield(e, err) || err != nil {
					return
				}
				continue
			}
			if next.stored = append(next.stored, s); len(next.stored) < decodeChunk {
				continue
			}
			if flush(); !deliver(runtime.GOMAXPROCS(0)) {
				return
			}
		}
		flush()
		deliver(0)
	}
}
