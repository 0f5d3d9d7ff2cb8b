package conversation

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/catalog"
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

// ReadFrames reads the frames of one side of a WebSocket, so many bytes at a time. It returns the messages, why some were lost
// and why the rest cannot be understood; and how many bytes of copies are held at the end.
func ReadFrames(client bool, extensions, text string, size int) (said string, held int) {
	var b budget
	var out []string
	ofClient, ofServer, err := agreed(extensions)
	f := &frames{
		budget: &b, client: client, deflate: ofServer,
		said: func(doc []byte) { out = append(out, string(doc)) },
		lost: func(err error) { out = append(out, "lost: "+err.Error()) },
	}
	if client {
		f.deflate = ofClient
	}
	for err == nil && text != "" {
		n := min(size, len(text))
		err = f.feed([]byte(text[:n]))
		text = text[n:]
	}
	if err != nil {
		out = append(out, "error: "+err.Error())
	}
	f.drop()
	return strings.Join(out, "|"), int(b.used.Load())
}

// Deflated returns messages as one side of a WebSocket compresses them one after the other.
func Deflated(messages ...string) (out []string) {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	for _, m := range messages {
		io.WriteString(w, m)
		w.Flush()
		out = append(out, strings.TrimSuffix(buf.String(), flateEnd[:4]))
		buf.Reset()
	}
	return out
}

// TapSmall lets so many pieces of one byte pass while nobody listens, and returns what the copy takes and in how many chunks.
func TapSmall(n int) (copied []byte, chunks int) {
	var b budget
	t := newTap(&b)
	for i := range n {
		t.copy(nil, []byte{byte(i)})
	}
	chunks = len(t.chunks)
	t.end(io.EOF)
	copied, err := io.ReadAll(t)
	if err != nil || b.used.Load() != 0 {
		panic(err)
	}
	return copied, chunks
}

// Find returns the tool of a call.
func (e *Ear) Find(u *Use) (catalog.Key, bool) { return e.find(u) }
