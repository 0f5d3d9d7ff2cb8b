package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Legacy carries frames as the HTTP+SSE transport of the revision 2024-11-05 does, at the client's end: what the server
// says comes as events of one long answer, and what it is told is posted to the endpoint that the first event names.
type Legacy struct {
	remote   Remote
	endpoint string
	via      *http.Transport
	in       *Inbox
	posting  chan struct{} // has one element for each POST in progress

	mu      sync.Mutex
	header  http.Header // that messages are posted with
	refused *StatusError
}

// The bounds of what is posted at the same time, and for how long the next one waits for the one before it: servers take
// a message in and answer it elsewhere.
const (
	maxPosting = 64
	takeIn     = 5 * time.Second
)

// DialLegacy opens a connection. It sends what has to be said to the origin of the URL alone: an endpoint elsewhere is an
// error. What the server answers instead of a stream is a *StatusError.
func DialLegacy(ctx context.Context, remote Remote, max int) (_ *Legacy, err error) {
	l := newLegacy(remote)
	defer func() {
		if err != nil {
			l.Close() //nolint:errcheck // it always is nil
		}
	}()
	late := time.AfterFunc(headersWait, l.in.End)
	defer late.Stop()
	defer context.AfterFunc(ctx, l.in.End)()
	req, err := http.NewRequestWithContext(l.in.Context(), http.MethodGet, remote.URL.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := remote.Do(l.via, req)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	events, err := eventsOf(resp, max)
	if err == nil {
		err = l.begin(events, resp.Request.URL)
	}
	if err != nil {
		resp.Body.Close() //nolint:errcheck,gosec // the first error counts
		return nil, err
	}
	l.in.Go(func() {
		defer resp.Body.Close() //nolint:errcheck // it was read
		l.follow(events)
	})
	return l, nil
}

// ContinueLegacy makes a connection of a stream that has begun: endpoint is its event that says where messages are posted,
// and events what follows. The stream was read from an answer of from, and ends with hangUp; when Close returns, nothing
// reads it any more.
func ContinueLegacy(remote Remote, from *url.URL, endpoint Event, events *Events, hangUp func()) (*Legacy, error) {
	l := newLegacy(remote)
	if err := l.resolve(string(bytes.TrimSpace(endpoint.Data)), from); err != nil {
		l.in.End()
		return nil, err
	}
	context.AfterFunc(l.in.Context(), hangUp)
	l.in.Go(func() { l.follow(events) })
	return l, nil
}

func newLegacy(remote Remote) *Legacy {
	return &Legacy{remote: remote, header: remote.Header, via: NewRoundTripper(), in: NewInbox(), posting: make(chan struct{}, maxPosting)}
}

// eventsOf returns the events of an answer that is a stream of them.
func eventsOf(resp *http.Response, max int) (*Events, error) {
	kind := resp.Header.Get("Content-Type")
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, &StatusError{Code: resp.StatusCode, Header: resp.Header}
	case !IsEventStream(resp.Header):
		return nil, fmt.Errorf("transport: it answered with %.60q, which is no stream of events", kind)
	}
	return NewEvents(resp.Body, max+1024), nil
}

// begin waits for the event that names the endpoint.
func (l *Legacy) begin(events *Events, from *url.URL) error {
	for {
		e, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("transport: it ended its stream before it named an endpoint")
		case err != nil:
			return err
		case e.Type != "endpoint":
			continue // a comment
		}
		return l.resolve(string(bytes.TrimSpace(e.Data)), from)
	}
}

// resolve takes the endpoint from what the server says of it.
func (l *Legacy) resolve(text string, from *url.URL) error {
	u, err := from.Parse(text)
	if err != nil || text == "" || !SameOrigin(u, l.remote.URL) {
		return fmt.Errorf("transport: it names %.100q as its endpoint, which is not within %s://%s", text, l.remote.URL.Scheme, l.remote.URL.Host)
	}
	l.endpoint = u.String()
	return nil
}

// follow hands the server's messages to Read.
func (l *Legacy) follow(events *Events) {
	for {
		e, err := events.Next()
		switch {
		case err != nil:
			if l.in.Context().Err() != nil {
				err = io.EOF
			}
			l.in.Put(nil, err)
			return
		case e.Type == "endpoint":
			l.in.Put(nil, fmt.Errorf("%w: a second endpoint", ErrStream))
			return
		case e.Type == "message" && len(bytes.TrimSpace(e.Data)) > 0:
			if !l.in.Put(e.Data, nil) {
				return
			}
		}
	}
}

// Read returns what the server says next. An *Undelivered is no end; any other error is.
func (l *Legacy) Read() ([]byte, error) { return l.in.Read() }

// Write posts frames, one after the other. What becomes of them, Read tells.
func (l *Legacy) Write(frames ...[]byte) error {
	for _, f := range frames {
		select {
		case l.posting <- struct{}{}:
		case <-l.in.Context().Done():
			return io.ErrClosedPipe
		}
		taken := make(chan struct{})
		ok := l.in.Go(func() {
			err := l.post(f)
			close(taken)
			if err != nil {
				l.in.Put(nil, err)
			}
			<-l.posting
		})
		if !ok {
			return io.ErrClosedPipe
		}
		late := time.NewTimer(takeIn)
		select {
		case <-taken:
		case <-late.C:
		case <-l.in.Context().Done():
		}
		late.Stop()
	}
	return nil
}

func (l *Legacy) post(frame []byte) error {
	req, err := http.NewRequestWithContext(l.in.Context(), http.MethodPost, l.endpoint, bytes.NewReader(frame))
	if err != nil {
		return &Undelivered{Frame: frame, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	l.mu.Lock()
	remote := Remote{URL: l.remote.URL, Header: l.header}
	l.mu.Unlock()
	resp, err := remote.Do(l.via, req)
	if err != nil {
		return &Undelivered{Frame: frame, Sent: !NotSent(err), Err: err}
	}
	io.CopyN(io.Discard, resp.Body, 4<<10) //nolint:errcheck // "Accepted"
	resp.Body.Close()                      //nolint:errcheck,gosec // as above
	if resp.StatusCode > 299 {
		status := &StatusError{Code: resp.StatusCode, Header: resp.Header}
		if resp.StatusCode == http.StatusUnauthorized {
			l.mu.Lock()
			if l.header.Get("Authorization") == remote.Header.Get("Authorization") {
				l.refused = status
			}
			l.mu.Unlock()
		}
		return &Undelivered{Frame: frame, Sent: true, Status: resp.StatusCode, Err: status}
	}
	return nil
}

// Renew replaces what the server is told with each message: a client whose token has expired comes with another. If the
// server has asked for that since, and h still has the old one, it says so once.
func (l *Legacy) Renew(h http.Header) *StatusError {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.refused
	l.refused = nil
	if l.header.Get("Authorization") != h.Get("Authorization") {
		asked = nil
	}
	l.header = h
	return asked
}

// NotSent reports whether a request failed before anything of it was sent.
func NotSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// HangsUp says that CloseWrite ends both directions.
func (l *Legacy) HangsUp() {}

// CloseWrite ends the connection: without its stream, there are no answers.
func (l *Legacy) CloseWrite() error {
	l.in.End()
	return nil
}

// Close ends the connection, and returns when nothing of it is left.
func (l *Legacy) Close() error {
	l.in.Close()
	l.via.CloseIdleConnections()
	return nil
}
