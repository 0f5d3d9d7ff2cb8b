package proxy

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Conn carries raw frames in both directions. Read and Write may be called at the same time, each by one goroutine at
// a time for Read and by any for Write.
type Conn interface {
	// Read returns the next frame. After transport.ErrTooLong, ErrLineBreak, ErrBinary or a *transport.Undelivered, which
	// tells of a frame that was written, the next call goes on.
	Read() ([]byte, error)
	// Write sends frames at once, in their order.
	Write(frames ...[]byte) error
	// CloseWrite says that nothing more will be written. If the connection has a method HangsUp, nothing more can be read
	// then, either.
	CloseWrite() error
	Close() error
}

// The bounds of what is under way on a pipe.
const (
	pumpAhead  = 256      // frames that are judged ahead of one that waits for its record: they share commits
	writeAhead = 64 << 10 // bytes of frames that may go on and are gathered for one write
)

// settleWait is how long the server has for what is unanswered when the client has ended.
const settleWait = 5 * time.Second

// Pump moves frames between client and server until both have ended, and closes both. When the client ends, the server
// is told and may still answer; when the server ends, what it leaves unanswered is answered with an error.
func (l *Link) Pump(client, server Conn) error {
	p := pump{link: l, left: make(chan struct{}), debts: newDebts(l.ledger)}
	l.greeted()
	p.client, p.server = outlet{Conn: client, pump: &p}, outlet{Conn: server, pump: &p}
	up := lane{pump: &p, side: wire.FromClient, from: client, to: &p.server, back: &p.client, late: make(chan Ruling, pumpAhead)}
	down := lane{pump: &p, side: wire.FromServer, from: server, to: &p.client, back: &p.server, late: make(chan Ruling, pumpAhead)}
	var done sync.WaitGroup
	if keys, answers := p.debts.inherited(); len(answers) > 0 {
		done.Go(func() {
			p.client.write(keys, answers...) //nolint:errcheck // noted
		})
	}
	done.Go(func() {
		up.read()
		close(p.left)
	})
	done.Go(func() {
		up.release()
		if _, ok := server.(interface{ HangsUp() }); ok {
			l.settle(settleWait)
		}
		server.CloseWrite() //nolint:errcheck // it may be gone already
	})
	done.Go(down.read)
	down.release()
	why, lost := l.ending()
	unanswered := l.Fail(wire.CodeUnavailable, event.OutcomeLost, lost, nil)
	p.client.write(nil, unanswered...) //nolint:errcheck // noted
	client.CloseWrite()                //nolint:errcheck // it may be gone already
	client.Close()                     //nolint:errcheck // ends the read in progress
	server.Close()                     //nolint:errcheck // as above
	done.Wait()
	l.Close(why)
	return p.err
}

// Leave says why this process ends the connections of l without either side having ended: by a ledger, another process can
// go on.
func (l *Link) Leave(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = why
}

// ending returns why l ends, and what became of the calls that are unanswered.
func (l *Link) ending() (why, lost string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving != "" {
		return l.leaving, l.leaving + " before the answer came"
	}
	return "the server ended", fmt.Sprintf("server %s ended before it answered", l.who.Server)
}

type pump struct {
	link           *Link
	client, server outlet
	debts          *debts
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

// outlet is what is written to one side. When that can no longer be written to, the server is told that nothing more
// will come, what it still says is read, and whatever else there is for that side is dropped.
type outlet struct {
	Conn
	pump *pump
	gone atomic.Bool
}

// errGone says that a side can no longer be written to.
var errGone = errors.New("nothing can be written any more")

// write writes the frames that are not nil. What they pay is paid when they are written: the ledger is not closed in between,
// or the next process would answer again.
func (o *outlet) write(pays []string, frames ...[]byte) error {
	frames = slices.DeleteFunc(frames, func(f []byte) bool { return f == nil })
	if len(frames) == 0 {
		return nil
	}
	if o.gone.Load() {
		return errGone
	}
	var err error
	answer := func() {
		if err = o.Write(frames...); err == nil {
			o.pump.debts.pay(pays...)
		}
	}
	if len(pays) > 0 {
		o.pump.debts.ledger.Together(answer)
	} else {
		answer() // to a server, it can take until that is closed
	}
	if err != nil {
		o.gone.Store(true)
		o.pump.fail(err)
		o.pump.server.CloseWrite() //nolint:errcheck // it may be gone already
	}
	return err
}

// beside writes a frame that belongs to a call which waits. Where the client hears on several streams, it goes on the one of the call.
func (o *outlet) beside(w *wait, frame []byte) error {
	if c, ok := o.Conn.(interface {
		WriteBeside(id string, frame []byte) error
	}); ok && !o.gone.Load() {
		return c.WriteBeside(w.request.id, frame)
	}
	return o.write(nil, frame)
}

// lane is one direction: what comes from one side goes to the other, and some of it is answered instead. All of it is
// written in the order in which it came. The reader writes what is settled when it is judged; what waits for its record,
// and whatever comes behind it, is late and written by release, so that the reader can go on.
type lane struct {
	pump     *pump
	side     wire.Side
	from     Conn
	to, back *outlet
	late     chan Ruling
	unsent   atomic.Int64 // how many late ones are not written
	ready    gathered     // of the reader
}

// gathered is what may go on and is not written.
type gathered struct {
	forward, replies [][]byte
	pays             []string // what the client is answered with it
	rulings, size    int
}

// add adds what a ruling lets through.
func (n *lane) add(g *gathered, r Ruling) {
	forward, reply := r.Wait()
	g.forward, g.replies = append(g.forward, forward), append(g.replies, reply)
	g.rulings++
	g.size += len(forward) + len(reply)
	if r.pays != "" && (n.side == wire.FromClient && reply != nil || n.side == wire.FromServer && forward != nil) {
		g.pays = append(g.pays, r.pays)
	}
}

// write writes what is gathered, in one write to each side.
func (n *lane) write(g *gathered) {
	if g.rulings == 0 {
		return
	}
	forward, back := g.pays, []string(nil)
	if n.side == wire.FromClient {
		forward, back = back, forward
	}
	n.to.write(forward, g.forward...) //nolint:errcheck // noted
	n.back.write(back, g.replies...)  //nolint:errcheck // noted
	clear(g.forward)
	clear(g.replies)
	*g = gathered{forward: g.forward[:0], replies: g.replies[:0], pays: g.pays[:0]}
}

// pass takes the next ruling.
func (n *lane) pass(r Ruling) {
	if n.unsent.Load() == 0 && r.settled() && r.onHold() == nil {
		n.add(&n.ready, r)
		return
	}
	n.write(&n.ready)
	n.unsent.Add(1)
	n.late <- r
}

// release writes what is late. What is settled by then goes in one write; nothing that may go on waits for what may not
// yet. What is on hold lets the rest go by.
func (n *lane) release() {
	var g gathered
	write := func() {
		written := g.rulings
		n.write(&g)
		n.unsent.Add(-int64(written))
	}
	var held sync.WaitGroup
	for {
		var r Ruling
		var more bool
		select {
		case r, more = <-n.late:
		default:
			write()
			r, more = <-n.late
		}
		if !more {
			break
		}
		if g.size > writeAhead || !r.settled() {
			write()
		}
		w := r.onHold()
		if w == nil {
			n.add(&g, r)
			continue
		}
		n.unsent.Add(-1)
		held.Go(func() {
			if !w.conclude() {
				attend([]*wait{w}, n.pump.link.keepAlive, n.pump.left,
					func(i int) error { return n.back.write(nil, w.progress(i)) }, n.back.beside)
			}
			var g gathered
			n.add(&g, r)
			n.write(&g)
		})
	}
	write()
	held.Wait()
}

// read reads frames and has them judged, in their order.
func (n *lane) read() {
	defer close(n.late)
	backlog, _ := n.from.(interface{ Ready() bool })
	for {
		if n.ready.size > writeAhead || backlog == nil || !backlog.Ready() {
			n.write(&n.ready)
		}
		data, err := n.from.Read()
		var undelivered *transport.Undelivered
		switch {
		case errors.As(err, &undelivered):
			n.undelivered(undelivered)
			continue
		case errors.Is(err, transport.ErrTooLong), errors.Is(err, transport.ErrLineBreak), errors.Is(err, transport.ErrBinary):
			n.pass(n.refuse(&wire.Error{Code: wire.CodeInvalidRequest, Msg: err.Error()}))
			continue
		case err != nil:
			n.write(&n.ready)
			if !errors.Is(err, io.EOF) {
				n.pump.fail(err)
			}
			return
		}
		frame, err := wire.Parse(data, n.side)
		var refused *wire.Error
		if errors.As(err, &refused) {
			n.pass(n.refuse(refused))
			continue
		}
		n.judge(frame)
	}
}

// judge rules on each message of a frame. The messages of a batch go on one by one: on a pipe, that is the same.
func (n *lane) judge(frame wire.Frame) {
	link := n.pump.link
	if version := link.Origin().Protocol; frame.Batch && (version == "" || version >= "2025-06-18") {
		why := &wire.Error{Code: wire.CodeInvalidRequest, Msg: "a batch, which only the revisions before 2025-06-18 have"}
		n.pass(n.refuse(why))
		for _, m := range frame.Messages {
			if n.side == wire.FromServer && m.Kind == wire.Response {
				answer := *why
				answer.ID = m.ID
				n.pass(n.garbage(&answer))
			}
		}
		return
	}
	pays := n.expect(frame.Messages)
	for i := range frame.Messages {
		m := &frame.Messages[i]
		if n.side == wire.FromServer {
			r := link.FromServer(m)
			if m.Kind == wire.Response && m.ID != "" {
				r.pays = wire.Key(m.ID)
			}
			n.pass(r)
			continue
		}
		r := link.FromClient(m)
		if pays != nil {
			r.pays = pays[i]
		}
		n.pass(r)
	}
}

// expect notes what a frame of the client changes about what the client waits for, before anything is answered. It returns
// what pays for each message.
func (n *lane) expect(messages []wire.Message) (pays []string) {
	debts := n.pump.debts
	if debts.ledger == nil || n.side == wire.FromServer {
		return nil
	}
	pays = make([]string, len(messages))
	for i := range messages {
		switch m := &messages[i]; {
		case m.Kind == wire.Request:
			if m.Method == "initialize" {
				debts.ledger.Greet(m.Raw)
			}
			pays[i] = debts.owe(m.ID)
		case m.Method == "notifications/cancelled":
			debts.pay(wire.Key(m.Params.Get("requestId").Raw))
		}
	}
	debts.ledger.Noted()
	return pays
}

// refuse notes a frame that cannot be read. The client is told; a server that writes something else than messages, such
// as a log line on stdout, is only noted.
func (n *lane) refuse(why *wire.Error) Ruling {
	if n.side == wire.FromServer {
		n.pump.link.Refused("server", why)
		return n.garbage(why)
	}
	n.pump.link.Refused("client", why)
	pays := n.pump.debts.owe(why.ID)
	n.pump.debts.ledger.Noted()
	return Ruling{reply: why.Reply(), pays: pays}
}

// garbage answers the request that an unreadable answer was for, if its id could be read.
func (n *lane) garbage(why *wire.Error) Ruling {
	if why.ID == "" {
		return Ruling{}
	}
	link := n.pump.link
	key := wire.Key(why.ID)
	text := fmt.Sprintf("server %s gave an answer that cannot be read: %v", link.Origin().Server, why)
	for _, r := range link.Fail(wire.CodeBadAnswer, event.OutcomeUnclear, text, func(r *request) bool { return r.key == key }) {
		return Ruling{forward: r, pays: key}
	}
	return Ruling{}
}

// undelivered answers the requests of a frame that the server did not get, or to which no answer can come any more. With
// 4xx the server says that it did not do what was asked; with anything else nobody knows.
func (n *lane) undelivered(u *transport.Undelivered) {
	link := n.pump.link
	frame, err := wire.Parse(u.Frame, wire.FromClient)
	if err != nil {
		return // it was parsed before
	}
	code, outcome := wire.CodeUnavailable, event.OutcomeLost
	text := fmt.Sprintf("server %s cannot be reached: %v", link.Origin().Server, rootCause(u.Err))
	switch {
	case !u.Sent:
		outcome = event.OutcomeError
	case u.Status >= 400 && u.Status < 500:
		code, outcome = wire.CodeBadAnswer, event.OutcomeError
	case u.Status != 0:
		code, outcome = wire.CodeBadAnswer, event.OutcomeUnclear
	}
	if u.Sent {
		text = fmt.Sprintf("server %s does not answer this: %v", link.Origin().Server, rootCause(u.Err))
	}
	for i := range frame.Messages {
		m := &frame.Messages[i]
		if m.Kind != wire.Request {
			link.log.Warn("a message did not reach the server", "server", link.Origin().Server, "method", m.Method, "why", text)
			continue
		}
		key := wire.Key(m.ID)
		for _, r := range link.Fail(code, outcome, text, func(r *request) bool { return r.key == key }) {
			n.pass(Ruling{forward: r, pays: key})
		}
	}
}
