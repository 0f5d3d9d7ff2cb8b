package transport

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Inbox is what a connection has to read that is made of many requests: whatever goroutine hears something puts it in. It
// also knows them, so that none is left when the connection has ended.
type Inbox struct {
	ctx     context.Context // done when the connection has ended
	cancel  context.CancelFunc
	in      chan inbound
	running sync.WaitGroup
	mu      sync.Mutex
	closing bool // nothing may begin any more
}

type inbound struct {
	frame []byte
	err   error
}

// NewInbox returns an empty Inbox. Close ends it.
func NewInbox() *Inbox {
	i := &Inbox{in: make(chan inbound)}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

// Context is done when the connection has ended.
func (i *Inbox) Context() context.Context { return i.ctx }

// Go runs f until it returns, which it has to when the connection has ended; not if that is ending already.
func (i *Inbox) Go(f func()) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closing {
		i.running.Go(f)
	}
	return !i.closing
}

// Put waits until Read returns a frame or an error. It is not ok if the connection ends first.
func (i *Inbox) Put(frame []byte, err error) (ok bool) {
	select {
	case i.in <- inbound{frame, err}:
		return true
	case <-i.ctx.Done():
		return false
	}
}

// Read returns what is put in next. An *Undelivered is no end; any other error is.
func (i *Inbox) Read() ([]byte, error) {
	select {
	case x := <-i.in:
		if u := (*Undelivered)(nil); x.err != nil && !errors.As(x.err, &u) {
			i.cancel()
		}
		return x.frame, x.err
	case <-i.ctx.Done():
		return nil, io.EOF
	}
}

// End ends the connection.
func (i *Inbox) End() { i.cancel() }

// Close ends the connection, and returns when nothing runs any more.
func (i *Inbox) Close() {
	i.mu.Lock()
	i.closing = true
	i.mu.Unlock()
	i.cancel()
	i.running.Wait()
}
