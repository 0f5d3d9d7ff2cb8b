package proxy

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Conn carries raw frames in both directions. Read and Write may be called at the same time, each by one goroutine at
// a time for Read and by any for Write.
type Conn interface {
	// Read returns the next frame. After transport.ErrTooLong or transport.ErrLineBreak the next call goes on.
	Read() ([]byte, error)
	// Write sends frames at once, in their order.
	Write(frames ...[]byte) error
	// CloseWrite says that nothing more will be written.
	CloseWrite() error
	Close() error
}

// pumpAhead is how many frames may be judged ahead of the one that is being released: what comes through one pipe
// shares commits, and keeps its order.
const pumpAhead = 256

// writeAhead is how many bytes of frames that may go on are gathered for one write at most.
const writeAhead = 64 << 10

// Pump moves frames between client and server until both have ended, and closes both. When the client ends, the server
// is told and may still answer; when the server ends, what it leaves unanswered is answered with an error.
func (l *Link) Pump(client, server Conn) error {
	p := pump{link: l, left: make(chan struct{})}
	p.client, p.server = outlet{Conn: client, pump: &p}, outlet{Conn: server, pump: &p}
	var done sync.WaitGroup
	fromClient, fromServer := make(chan Ruling, pumpAhead), make(chan Ruling, pumpAhead)
	done.Go(func() {
		p.read(client, wire.FromClient, fromClient)
		close(p.left)
	})
	done.Go(func() {
		p.release(fromClient, &p.server, &p.client)
		server.CloseWrite() //nolint:errcheck // it may be gone already
	})
	done.Go(func() { p.read(server, wire.FromServer, fromServer) })
	p.release(fromServer, &p.client, &p.server)
	unanswered := l.Fail(wire.CodeUnavailable, event.OutcomeLost, fmt.Sprintf("server %s ended before it answered", l.Origin().Server), nil)
	p.client.write(unanswered...) //nolint:errcheck // noted
	client.CloseWrite()           //nolint:errcheck // it may be gone already
	client.Close()                //nolint:errcheck // ends the read in progress
	server.Close()                //nolint:errcheck // as above
	done.Wait()
	l.Close("the server ended")
	return p.err
}

type pump struct {
	link           *Link
	client, server outlet
	left           chan struct{} // closed when the client has ended: nobody waits for what is on hold then
	mu             sync.Mutex
	err            error
}

func (p *pump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// read reads frames and has them judged, in their order, and closes rulings at the end.
func (p *pump) read(from Conn, side wire.Side, rulings chan<- Ruling) {
	defer close(rulings)
	for {
		data, err := from.Read()
		switch {
		case errors.Is(err, transport.ErrTooLong), errors.Is(err, transport.ErrLineBreak):
			rulings <- p.refuse(side, &wire.Error{Code: wire.CodeInvalidRequest, Msg: err.Error()})
			continue
		case err != nil:
			if !errors.Is(err, io.EOF) {
				p.fail(err)
			}
			return
		}
		frame, err := wire.Parse(data, side)
		var refused *wire.Error
		if errors.As(err, &refused) {
			rulings <- p.refuse(side, refused)
			continue
		}
		p.judge(frame, side, rulings)
	}
}

// judge rules on each message of a frame. The messages of a batch go on one by one: on a pipe, that is the same.
func (p *pump) judge(frame wire.Frame, side wire.Side, rulings chan<- Ruling) {
	if version := p.link.Origin().Protocol; frame.Batch && (version == "" || version >= "2025-06-18") {
		why := &wire.Error{Code: wire.CodeInvalidRequest, Msg: "a batch, which only the revisions before 2025-06-18 have"}
		rulings <- p.refuse(side, why)
		for _, m := range frame.Messages {
			if side == wire.FromServer && m.Kind == wire.Response {
				answer := *why
				answer.ID = m.ID
				rulings <- p.garbage(&answer)
			}
		}
		return
	}
	for i := range frame.Messages {
		if side == wire.FromClient {
			rulings <- p.link.FromClient(&frame.Messages[i])
		} else {
			rulings <- p.link.FromServer(&frame.Messages[i])
		}
	}
}

// refuse notes a frame that cannot be read. The client is told; a server that writes something else than messages, such
// as a log line on stdout, is only noted.
func (p *pump) refuse(side wire.Side, why *wire.Error) Ruling {
	if side == wire.FromServer {
		p.link.Refused("server", why)
		return p.garbage(why)
	}
	p.link.Refused("client", why)
	return Ruling{reply: why.Reply()}
}

// garbage answers the request that an unreadable answer was for, if its id could be read.
func (p *pump) garbage(why *wire.Error) Ruling {
	if why.ID == "" {
		return Ruling{}
	}
	key := wire.Key(why.ID)
	text := fmt.Sprintf("server %s gave an answer that cannot be read: %v", p.link.Origin().Server, why)
	for _, r := range p.link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, text, func(id string) bool { return wire.Key(id) == key }) {
		return Ruling{forward: r}
	}
	return Ruling{}
}

// outlet is what is written to one side. When that can no longer be written to, the server is told that nothing more
// will come, what it still says is read, and whatever else there is for that side is dropped.
type outlet struct {
	Conn
	pump *pump
	gone atomic.Bool
}

// write writes the frames that are not nil.
func (o *outlet) write(frames ...[]byte) error {
	frames = slices.DeleteFunc(frames, func(f []byte) bool { return f == nil })
	if len(frames) == 0 || o.gone.Load() {
		return nil
	}
	err := o.Write(frames...)
	if err != nil {
		o.gone.Store(true)
		o.pump.fail(err)
		o.pump.server.CloseWrite() //nolint:errcheck // it may be gone already
	}
	return err
}

// release writes what may go on to one side, and replies to the other, in the order of the rulings. What is settled
// by then goes in one write; nothing that may go on waits for what may not yet. What is on hold lets the rest go by.
func (p *pump) release(rulings <-chan Ruling, to, back *outlet) {
	var forward, replies [][]byte
	size := 0
	flush := func() {
		to.write(forward...)   //nolint:errcheck // noted
		back.write(replies...) //nolint:errcheck // noted
		clear(forward)
		clear(replies)
		forward, replies, size = forward[:0], replies[:0], 0
	}
	finish := func(r Ruling) {
		f, reply := r.Wait()
		forward, replies = append(forward, f), append(replies, reply)
		size += len(f) + len(reply)
	}
	var held sync.WaitGroup
	for {
		var r Ruling
		var more bool
		select {
		case r, more = <-rulings:
		default:
			flush()
			r, more = <-rulings
		}
		if !more {
			break
		}
		if size > writeAhead || !r.settled() {
			flush()
		}
		w := r.onHold()
		if w == nil {
			finish(r)
			continue
		}
		held.Go(func() {
			attend([]*wait{w}, p.link.keepAlive, p.left, func(n int) error { return back.write(w.progress(n)) })
			f, reply := r.Wait()
			to.write(f)       //nolint:errcheck // noted
			back.write(reply) //nolint:errcheck // noted
		})
	}
	flush()
	held.Wait()
}
