package conversation

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// OpenAI's Responses can be held over a WebSocket: the client sends response.create where it would post a request, and gets
// the events that it would get as a stream. Several responses can be under way, each on a lane of its own.

// duplex is a connection that is HTTP no longer, of which a tap has a copy of both directions, in the order in which they passed:
// before each piece stands who said it and how long it is.
type duplex struct {
	io.ReadWriteCloser
	tap *tap
}

// The sides of a duplex.
const (
	byClient byte = iota
	byServer
)

// pieceHead is the length of what stands before a piece.
const pieceHead = 5

func (d duplex) copy(side byte, p []byte) {
	head := [pieceHead]byte{side}
	binary.BigEndian.PutUint32(head[1:], uint32(len(p))) //nolint:gosec // a buffer of io.Copy
	d.tap.copy(head[:], p)
}

// Read implements io.Reader.
func (d duplex) Read(p []byte) (int, error) {
	n, err := d.ReadWriteCloser.Read(p)
	d.copy(byServer, p[:n])
	return n, err
}

// Write implements io.Writer. It copies first: the answer can be there before it returns.
func (d duplex) Write(p []byte) (int, error) {
	d.copy(byClient, p)
	return d.ReadWriteCloser.Write(p)
}

// CloseWrite ends the client's half, where the connection has halves.
func (d duplex) CloseWrite() error {
	if half, ok := d.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return d.Close()
}

// maxLanes is how many lanes a WebSocket can have, maxQueue how many responses can be asked for on one before they begin.
const (
	maxLanes = 64
	maxQueue = 64
)

// socket hears a WebSocket.
type socket struct {
	x     *exchange
	talk  Talk
	lanes map[string]*lane
}

// lane is responses one after the other.
type lane struct {
	queue  []*hearing // of requests whose answer has not begun
	answer *hearing   // that is being heard; nil between answers
	dialect
	held int  // bytes that are counted for the answer
	deaf bool // the rest of the answer is not heard
}

// hearSocket listens to a WebSocket, on its copy, until it is over.
func (x *exchange) hearSocket(before []*exchange) {
	s := &socket{x: x, talk: x.talk, lanes: map[string]*lane{}}
	defer x.model.leave(x)
	defer func() {
		for _, l := range s.lanes {
			x.model.copies.give(l.held)
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			x.model.Ear.panicked(x.talk, p)
		}
		x.said.leave()
	}()
	for _, b := range before {
		b.said.caughtUp()
	}
	a, ok := <-x.answer
	if !ok { // it was refused
		return
	}
	err := s.read(a.extensions)
	half := false
	for _, l := range s.lanes {
		half = half || l.answer != nil || len(l.queue) > 0
		s.finish(l, false)
		for _, h := range l.queue {
			h.end()
		}
	}
	if err != nil || half {
		if err == nil {
			err = errHalf
		}
		x.model.Ear.unheard(x.talk, "a conversation", err)
	}
}

// read reads the copy to its end. The error says why it is not heard any further.
func (s *socket) read(extensions string) error {
	client, server, err := agreed(extensions)
	if err != nil {
		return err
	}
	lost := func(err error) { s.x.model.Ear.unheard(s.x.talk, "a message", err) }
	sides := [2]*frames{
		byClient: {budget: &s.x.model.copies, client: true, deflate: client, said: s.message(s.asked), lost: lost},
		byServer: {budget: &s.x.model.copies, deflate: server, said: s.message(s.answered), lost: lost},
	}
	defer func() {
		for _, f := range sides {
			f.drop()
		}
	}()
	in := bufio.NewReader(s.x.said)
	var head [pieceHead]byte
	piece := make([]byte, 32<<10)
	for {
		_, err := io.ReadFull(in, head[:])
		left := int(binary.BigEndian.Uint32(head[1:]))
		for err == nil && left > 0 {
			part := piece[:min(len(piece), left)]
			if _, err = io.ReadFull(in, part); err == nil {
				left -= len(part)
				err = sides[head[0]].feed(part)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errHalf): // whether that is in the middle of something, the lanes know
			return nil
		case err != nil:
			return err
		}
	}
}

// message takes in a message that can be read in one way, and leaves out any other.
func (s *socket) message(take func(gjson.Result)) func([]byte) {
	return func(doc []byte) {
		if err := wire.Check(doc); err != nil {
			s.x.model.Ear.unheard(s.x.talk, "a message", err)
			return
		}
		take(gjson.ParseBytes(doc))
	}
}

// lane returns the lane that a message names; nil if there are too many.
func (s *socket) lane(v gjson.Result) *lane {
	id := v.Get("stream_id").Str
	l := s.lanes[id]
	if l == nil && len(s.lanes) < maxLanes && len(id) <= maxID {
		l = &lane{}
		s.lanes[strings.Clone(id)] = l
	}
	return l
}

// asked hears what the client says.
func (s *socket) asked(v gjson.Result) {
	answers := false
	switch v.Get("type").Str {
	case "response.create", "response.append":
		answers = true
	case "response.steer", "response.inject":
	default:
		return
	}
	h := s.x.model.Ear.listen(s.talk)
	h.about(v)
	if id := v.Get("response_id").Str; id != "" { // more for an answer that is under way
		h.after(id)
	}
	if v.Get("type").Str == "response.append" {
		h.after(h.ear.unique())
	}
	s.talk.ID = h.talk.ID
	h.hear(past(dialectOf("/responses").asked(v))...)
	l := s.lane(v)
	if answers && l != nil && len(l.queue) < maxQueue {
		l.queue = append(l.queue, h)
		return
	}
	h.end()
	if answers {
		s.x.model.Ear.unheard(s.talk, "an answer", errFull)
	}
}

// answered hears what the API says.
func (s *socket) answered(v gjson.Result) {
	kind := v.Get("type").Str
	l := s.lane(v)
	switch {
	case l == nil:
		return
	case kind == "error": // the answer ends, or does not come
		if l.answer == nil {
			s.next(l)
		}
		s.finish(l, false)
		return
	case !strings.HasPrefix(kind, "response.") || strings.HasPrefix(kind, "response.steer.") || strings.HasPrefix(kind, "response.inject."):
		return
	case kind == "response.created" || l.answer == nil && !l.deaf:
		if s.next(l); l.answer == nil { // nobody has asked: what the user has said meanwhile goes on
			l.answer = s.x.model.Ear.listen(s.talk)
			l.answer.after(v.Get("response.id").Str)
		}
		l.dialect, l.deaf = dialectOf("/responses"), false
	}
	if l.deaf {
		return
	}
	switch n := len(v.Raw); {
	case l.held+n > maxStream:
		s.lose(l, errLong)
		return
	case !s.x.model.copies.take(n):
		s.lose(l, errFull)
		return
	default:
		l.held += n
	}
	l.answer.hear(l.event(v)...)
	switch kind {
	case "response.completed", "response.incomplete", "response.failed":
		s.finish(l, true)
	}
}

// next ends the answer before, if that has no end, and begins the one that was asked for first.
func (s *socket) next(l *lane) {
	s.finish(l, false)
	if len(l.queue) > 0 {
		l.answer, l.queue = l.queue[0], l.queue[1:]
	}
}

// finish ends an answer.
func (s *socket) finish(l *lane, whole bool) {
	if l.answer == nil {
		return
	}
	if l.dialect != nil {
		l.answer.hear(l.rest(whole)...)
	}
	l.answer.end()
	s.x.model.copies.give(l.held)
	l.answer, l.dialect, l.held = nil, nil, 0
}

// lose gives up the rest of an answer.
func (s *socket) lose(l *lane, why error) {
	s.finish(l, false)
	l.deaf = true
	s.x.model.Ear.unheard(s.talk, "an answer", why)
}
