package conversation

import (
	"bytes"
	"errors"
	"io"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// Hear tells a conversation once, to its end.
func (e *Ear) Hear(t Talk, pieces ...Piece) {
	h := e.listen(t)
	h.hear(pieces...)
	h.end()
}

// Spend uses up the room of all conversations for so many turns.
func (e *Ear) Spend(turns int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.room.turns -= turns
}

// Remembered returns how many conversations and pieces are remembered.
func (e *Ear) Remembered() (talks, keys int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.talks), e.keys
}

// Held returns how many bytes of copies are held.
func (m *Model) Held() int { return int(m.copies.used.Load()) }

// Most returns how many were held at the same time.
func (m *Model) Most() int { return int(m.copies.most.Load()) }

// HearAll returns what a request and its answer say.
func HearAll(path string, request, answer []byte, stream bool) (out []Piece) {
	d := dialectOf(path)
	if wire.Check(request) == nil {
		out = past(d.asked(gjson.ParseBytes(request)))
	}
	if !stream {
		if wire.Check(answer) == nil {
			out = append(out, d.answered(gjson.ParseBytes(answer))...)
		}
		return out
	}
	events := transport.NewEvents(bytes.NewReader(answer), maxDocument)
	for {
		e, err := events.Next()
		if err != nil || len(e.Data) > 0 && wire.Check(e.Data) != nil {
			return append(out, d.rest(errors.Is(err, io.EOF))...)
		}
		out = append(out, d.event(gjson.ParseBytes(e.Data))...)
	}
}
