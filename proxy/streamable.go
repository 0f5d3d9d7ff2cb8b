package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// streamable is a server that speaks Streamable HTTP, in either era, as a Conn: it is what clients that speak frames have
// in front of them. Each frame is a POST of its own; what the server says of its own accord comes on a GET.
type streamable struct {
	remote transport.Remote
	via    *http.Transport
	in     *transport.Inbox
	asking chan struct{} // has one element for each request in progress

	mu        sync.Mutex
	session   string
	protocol  string                        // the revision that the two have agreed on
	modern    map[string]context.CancelFunc // the requests of the modern era in progress, by wire.Key of their id
	listening bool
	ended     bool // the session is over
}

// The bounds of an exchange with a server over Streamable HTTP.
const (
	maxAsking  = 256
	takeInWait = 30 * time.Second       // for the answer to what needs no work
	endWait    = 2 * time.Second        // for the end of the session
	firstRetry = time.Second            // before a stream is asked for again, if the server says nothing else …
	minRetry   = 100 * time.Millisecond // … and what it may say
	maxRetry   = time.Minute
	maxResumes = 100 // of a stream that brings nothing
)

// newStreamable returns a connection to a server. Nothing is sent before the first Write.
func newStreamable(remote transport.Remote) Conn {
	return &streamable{
		remote: remote, via: transport.NewRoundTripper(), in: transport.NewInbox(), asking: make(chan struct{}, maxAsking),
		modern: map[string]context.CancelFunc{},
	}
}

// Read implements Conn.
func (s *streamable) Read() ([]byte, error) { return s.in.Read() }

// Write implements Conn. A request is on its way when Write returns, and everything else has been taken in.
func (s *streamable) Write(frames ...[]byte) error {
	for _, data := range frames {
		frame, err := wire.Parse(data, wire.FromClient)
		if err != nil {
			return err // it was parsed before
		}
		m := &frame.Messages[0]
		switch {
		case s.in.Context().Err() != nil:
			return io.ErrClosedPipe
		case m.Kind == wire.Request:
			s.ask(m)
		case m.Method == "notifications/cancelled" && s.hangUp(m):
		default:
			s.tell(m)
		}
	}
	return nil
}

// hangUp cancels a request of the modern era: over HTTP, that is to close its stream.
func (s *streamable) hangUp(m *wire.Message) bool {
	id := m.Params.Get("requestId").Raw
	if id == "" || id[0] != '"' && id[0] != '-' && (id[0] < '0' || id[0] > '9') {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cancel, ok := s.modern[wire.Key(id)]
	if ok {
		cancel()
	}
	return ok
}

// tell sends what has no answer.
func (s *streamable) tell(m *wire.Message) {
	ctx, cancel := context.WithTimeout(s.in.Context(), takeInWait)
	defer cancel()
	resp, err := s.post(ctx, m)
	if err == nil {
		io.CopyN(io.Discard, resp.Body, 4<<10) //nolint:errcheck // nothing is to be said to it
		resp.Body.Close()                      //nolint:errcheck,gosec // as above
		if resp.StatusCode > 299 {
			err = &transport.Undelivered{Frame: m.Raw, Sent: true, Status: resp.StatusCode, Err: &transport.StatusError{Code: resp.StatusCode}}
		}
	}
	if err != nil {
		s.in.Go(func() { s.in.Put(nil, err) })
		return
	}
	if m.Method == "notifications/initialized" {
		s.mu.Lock()
		first := !s.listening
		s.listening = true
		s.mu.Unlock()
		if first {
			s.in.Go(s.listen)
		}
	}
}

// ask sends a request; its answer comes by Read.
func (s *streamable) ask(m *wire.Message) {
	select {
	case s.asking <- struct{}{}:
	case <-s.in.Context().Done():
		return
	}
	ctx, cancel := context.WithCancel(s.in.Context())
	key := wire.Key(m.ID)
	if m.Protocol() != "" {
		s.mu.Lock()
		s.modern[key] = cancel
		s.mu.Unlock()
	}
	sent := make(chan struct{})
	sending := sync.OnceFunc(func() { close(sent) })
	if !s.in.Go(func() {
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sending() }})
		err := s.exchange(traced, m)
		sending()
		s.mu.Lock()
		delete(s.modern, key)
		s.mu.Unlock()
		given := ctx.Err() != nil // the client has given it up, or all has ended
		cancel()
		if err != nil && !given {
			s.in.Put(nil, err)
		}
		<-s.asking
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		if ended {
			s.in.Put(nil, io.EOF)
		}
	}) {
		cancel()
		return
	}
	<-sent
}

// exchange sends a request and hands what is answered to Read.
func (s *streamable) exchange(ctx context.Context, m *wire.Message) error {
	resp, err := s.post(ctx, m)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	lost := func(err error) error {
		return &transport.Undelivered{Frame: m.Raw, Sent: true, Status: resp.StatusCode, Err: err}
	}
	if transport.IsEventStream(resp.Header) && resp.StatusCode < 300 {
		f := follow{s: s, method: m.Method, key: wire.Key(m.ID)}
		err := f.events(resp.Body)
		for f.id != "" && !f.answered && m.Protocol() == "" && ctx.Err() == nil && f.resumes < maxResumes {
			f.resumes++
			err = f.again(ctx)
		}
		switch {
		case f.answered:
			return nil
		case err == nil || errors.Is(err, io.EOF):
			err = errors.New("it ended its stream before it answered")
		}
		return &transport.Undelivered{Frame: m.Raw, Sent: true, Err: err}
	}
	if e, none := encoding(resp.Header); !none {
		return lost(fmt.Errorf("it encoded its answer as %.40q, although it was asked not to", e))
	}
	body, err := readAll(io.LimitReader(resp.Body, wire.MaxSize+1), resp.ContentLength)
	mediaType, clear := media(resp.Header)
	switch {
	case err != nil:
		return &transport.Undelivered{Frame: m.Raw, Sent: true, Err: err}
	case len(body) > wire.MaxSize:
		return lost(fmt.Errorf("it answered with more than %d bytes", wire.MaxSize))
	case clear && mediaType == "application/json" && (answersTo(body, wire.Key(m.ID)) || resp.StatusCode < 300 && len(bytes.TrimSpace(body)) > 0):
		s.agree(m.Method, body)
		s.in.Put(body, nil)
		if !answersTo(body, wire.Key(m.ID)) {
			return lost(errors.New("it answered something that was not asked"))
		}
		return nil
	}
	return lost(&transport.StatusError{Code: resp.StatusCode, Header: resp.Header})
}

// answersTo reports whether a frame of the server has the answer to a request. If it cannot be read, whoever reads it next
// will say so.
func answersTo(data []byte, key string) bool {
	frame, err := wire.Parse(data, wire.FromServer)
	var refused *wire.Error
	if errors.As(err, &refused) {
		return refused.ID != "" && wire.Key(refused.ID) == key
	}
	for i := range frame.Messages {
		if m := &frame.Messages[i]; m.Kind == wire.Response && m.ID != "" && wire.Key(m.ID) == key {
			return true
		}
	}
	return false
}

// post sends a message. An error is an *transport.Undelivered.
func (s *streamable) post(ctx context.Context, m *wire.Message) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.remote.URL.String(), bytes.NewReader(m.Raw)) //nolint:gosec // the user says where the server is
	if err != nil {
		return nil, &transport.Undelivered{Frame: m.Raw, Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	named := s.identify(req.Header)
	if version := m.Protocol(); version != "" {
		req.Header.Del(headerSession)
		named = false
		for name, value := range map[string]string{"Mcp-Protocol-Version": version, "Mcp-Method": m.Method, "Mcp-Name": m.Name()} {
			if req.Header.Del(name); value != "" {
				req.Header.Set(name, encodeHeader(value))
			}
		}
	}
	resp, err := s.remote.Do(s.via, req)
	if err != nil {
		return nil, &transport.Undelivered{Frame: m.Raw, Sent: !transport.NotSent(err), Err: rootCause(err)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Method == "initialize" && resp.StatusCode < 300 {
		s.session = resp.Header.Get(headerSession)
	}
	s.ended = s.ended || named && resp.StatusCode == http.StatusNotFound
	return resp, nil
}

// identify adds the headers of the session, and reports whether there is one.
func (s *streamable) identify(h http.Header) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.protocol != "" {
		h.Set("Mcp-Protocol-Version", s.protocol)
	}
	if s.session != "" {
		h.Set(headerSession, s.session)
	}
	return s.session != ""
}

// encodeHeader is the inverse of decodeHeader.
func encodeHeader(v string) string {
	plain := v == strings.TrimSpace(v) && !strings.HasPrefix(v, "=?base64?")
	for _, c := range []byte(v) {
		plain = plain && c >= ' ' && c <= '~'
	}
	if plain {
		return v
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(v)) + "?="
}

// listen follows what the server says of its own accord, if it does, until the connection ends.
func (s *streamable) listen() {
	f := follow{s: s}
	for s.in.Context().Err() == nil && f.resumes < maxResumes {
		f.resumes++
		if err := f.again(s.in.Context()); errors.Is(err, errNoStream) {
			return
		}
	}
}

// errNoStream says that the server does not have what was asked for, and will not.
var errNoStream = errors.New("it has no such stream")

// follow reads streams of events, one after the other where one goes on in the next.
type follow struct {
	s        *streamable
	method   string // of the request whose answer the stream is for; empty if it is for none
	key      string // of its id
	answered bool
	id       string // of the last event that has one
	retry    time.Duration
	resumes  int // since the last event with data
}

// again asks for the stream that goes on after the last event, after the time that the server wants.
func (f *follow) again(ctx context.Context) error {
	if f.id != "" || f.resumes > 1 {
		wait := f.retry
		if wait == 0 {
			wait = min(firstRetry<<min(f.resumes-1, 6), maxRetry)
		}
		pause := time.NewTimer(wait)
		defer pause.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.s.remote.URL.String(), http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	f.s.identify(req.Header)
	if f.id != "" {
		req.Header.Set("Last-Event-Id", f.id)
	}
	resp, err := f.s.remote.Do(f.s.via, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK || !transport.IsEventStream(resp.Header) {
		if resp.StatusCode < 500 {
			f.resumes = maxResumes
			return errNoStream
		}
		return &transport.StatusError{Code: resp.StatusCode, Header: resp.Header}
	}
	return f.events(resp.Body)
}

// events hands the messages of a stream to Read, until it ends or has brought the answer.
func (f *follow) events(body io.Reader) error {
	events := transport.NewEvents(body, wire.MaxSize+1024)
	for {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if e.ID {
			f.id = e.Field("id")
		}
		if ms, err := strconv.Atoi(e.Field("retry")); err == nil && ms >= 0 {
			f.retry = min(max(time.Duration(ms)*time.Millisecond, minRetry), maxRetry)
		}
		data := bytes.TrimSpace(e.Data)
		if e.Type != "message" || len(data) == 0 {
			continue
		}
		f.resumes = 0
		if f.method != "" && answersTo(data, f.key) {
			f.answered = true
			f.s.agree(f.method, data)
		}
		if !f.s.in.Put(data, nil) {
			return io.EOF
		}
		if f.answered {
			return nil
		}
	}
}

// agree keeps the revision that the answer to an initialize names.
func (s *streamable) agree(method string, data []byte) {
	if frame, err := wire.Parse(data, wire.FromServer); err == nil && method == "initialize" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.protocol = strings.Clone(frame.Messages[0].Result.Get("protocolVersion").Str)
	}
}

// HangsUp says that CloseWrite ends both directions.
func (s *streamable) HangsUp() {}

// CloseWrite implements Conn.
func (s *streamable) CloseWrite() error { return s.Close() }

// Close implements Conn. It ends the session of the protocol, and returns when nothing is left of the connection.
func (s *streamable) Close() error {
	s.in.Close()
	s.mu.Lock()
	named := s.session != "" && !s.ended
	s.ended = true
	s.mu.Unlock()
	if named {
		ctx, cancel := context.WithTimeout(context.Background(), endWait)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.remote.URL.String(), http.NoBody)
		if err != nil {
			return err
		}
		s.identify(req.Header)
		if resp, err := s.remote.Do(s.via, req); err == nil {
			resp.Body.Close() //nolint:errcheck,gosec // whatever it says, we have ended
		}
	}
	s.via.CloseIdleConnections()
	return nil
}
