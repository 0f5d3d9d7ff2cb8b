package proxy

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Conn carries raw frames in both directions. Read and Write may be called at the same time, each by one goroutine at
// a time for Read and by any for Write.
type Conn interface {
	// Read returns the next frame. After transport.ErrTooLong or transport.ErrLineBreak the next call goes on.
	Read() ([]byte, error)
	Write(frame []byte) error
	// CloseWrite says that nothing more will be written.
	CloseWrite() error
	Close() error
}

// pumpAhead is how many frames may be judged ahead of the one that is being released: what comes through one pipe
// shares commits, and keeps its order.
const pumpAhead = 256

// Pump moves frames between client and server until both have ended, and closes both. When the client ends, the server
// is told and may still answer; when the server ends, what it leaves unanswered is answered with an error.
func (l *Link) Pump(client, server Conn) error {
	p := pump{link: l, client: client, server: server, left: make(chan struct{})}
	var done sync.WaitGroup
	fromClient, fromServer := make(chan Ruling, pumpAhead), make(chan Ruling, pumpAhead)
	done.Go(func() {
		p.read(client, wire.FromClient, fromClient)
		close(p.left)
	})
	done.Go(func() {
		p.release(fromClient, server, client)
		server.CloseWrite() //nolint:errcheck // it may be gone already
	})
	done.Go(func() { p.read(server, wire.FromServer, fromServer) })
	p.release(fromServer, client, server)
	for _, r := range l.Fail(wire.CodeUnavailable, event.OutcomeLost, fmt.Sprintf("server %s ended before it answered", l.Origin().Server), nil) {
		if client.Write(r) != nil {
			break
		}
	}
	client.CloseWrite() //nolint:errcheck // it may be gone already
	client.Close()      //nolint:errcheck // ends the read in progress
	server.Close()      //nolint:errcheck // as above
	done.Wait()
	l.Close("the server ended")
	return p.err
}

type pump struct {
	link           *Link
	client, server Conn
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

// release writes what may go on to one side, and replies to the other, in the order of the rulings; what is on hold lets
// the rest go by. When one of them can no longer be written to, the server is told that nothing more will come, what it
// still says is read, and whatever else there is for that side is waited for and dropped.
func (p *pump) release(rulings <-chan Ruling, to, back Conn) {
	var mu sync.Mutex
	gone := map[Conn]bool{}
	write := func(conn Conn, frame []byte) error {
		mu.Lock()
		dropped := frame == nil || gone[conn]
		mu.Unlock()
		if dropped {
			return nil
		}
		err := conn.Write(frame)
		if err != nil {
			p.fail(err)
			mu.Lock()
			gone[conn] = true
			mu.Unlock()
			p.server.CloseWrite() //nolint:errcheck // it may be gone already
		}
		return err
	}
	finish := func(r Ruling) {
		forward, reply := r.Wait()
		write(to, forward) //nolint:errcheck // noted
		write(back, reply) //nolint:errcheck // noted
	}
	var held sync.WaitGroup
	for r := range rulings {
		w := r.onHold()
		if w == nil {
			finish(r)
			continue
		}
		held.Go(func() {
			attend([]*wait{w}, p.link.keepAlive, p.left, func(n int) error { return write(back, w.progress(n)) })
			finish(r)
		})
	}
	held.Wait()
}
