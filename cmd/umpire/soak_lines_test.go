//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// shimmed is a conversation over the pipes of umpire run.
type shimmed struct {
	in    *bufio.Reader
	ends  []*os.File // what is written to it, and what is read from it
	ended chan error
}

// start starts umpire run with these arguments.
func (s *soak) start(args ...string) (line, error) {
	stdin, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	read, stdout, err := os.Pipe()
	if err != nil {
		write.Close()
		return nil, err
	}
	defer stdout.Close()
	cmd := s.umpire(append([]string{"run"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, s.log
	if err := cmd.Start(); err != nil {
		write.Close()
		read.Close()
		return nil, err
	}
	l := &shimmed{in: bufio.NewReaderSize(read, 64<<10), ends: []*os.File{write, read}, ended: make(chan error, 1)}
	s.shims.Store(cmd.Process, nil)
	go func() {
		err := cmd.Wait()
		s.shims.Delete(cmd.Process)
		l.ended <- err
	}()
	return l, nil
}

func (l *shimmed) say(frame []byte) error {
	l.ends[0].SetWriteDeadline(time.Now().Add(endurance))
	_, err := l.ends[0].Write(append(frame, '\n'))
	return err
}

func (l *shimmed) hear() ([]byte, error) {
	for {
		text, err := l.in.ReadBytes('\n')
		if text = []byte(strings.TrimSpace(string(text))); len(text) > 0 || err != nil {
			return text, err
		}
	}
}

func (l *shimmed) leave() error { return l.ends[0].Close() }

func (l *shimmed) cut() {
	for _, f := range l.ends {
		f.Close()
	}
}

func (l *shimmed) over() error { return <-l.ended }

// socket is a conversation over a WebSocket.
type socket struct{ *websocket.Conn }

func (s *soak) dialSocket(ctx context.Context, url string) (line, error) {
	d := websocket.Dialer{Subprotocols: []string{"mcp"}}
	conn, _, err := d.DialContext(ctx, strings.Replace(url, "http", "ws", 1), nil)
	if err != nil {
		return nil, err
	}
	return socket{conn}, nil
}

func (l socket) say(frame []byte) error {
	l.SetWriteDeadline(time.Now().Add(endurance))
	return l.WriteMessage(websocket.TextMessage, frame)
}

func (l socket) hear() ([]byte, error) {
	_, text, err := l.ReadMessage()
	return text, err
}

func (l socket) leave() error {
	return l.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

func (l socket) cut()        { l.NetConn().Close() }
func (l socket) over() error { return nil }

// events is a conversation over HTTP+SSE: a stream of what is said here, and an endpoint for what is said there.
type events struct {
	*transport.Events
	client   *http.Client
	ctx      context.Context
	cancel   context.CancelFunc
	endpoint string
	body     io.Closer
}

func (s *soak) dialEvents(ctx context.Context, url string) (line, error) {
	l := &events{client: &http.Client{Transport: &http.Transport{}}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, l.cancel)
	defer stop()
	fail := func(err error) (line, error) {
		l.cut()
		return nil, err
	}
	r, err := http.NewRequestWithContext(l.ctx, http.MethodGet, url, nil)
	if err != nil {
		return fail(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := l.client.Do(r)
	if err != nil {
		return fail(err)
	}
	l.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		return fail(errors.New(resp.Status))
	}
	l.Events = transport.NewEvents(resp.Body, 8<<20)
	e, err := l.Next()
	if err != nil || e.Type != "endpoint" {
		return fail(fmt.Errorf("the stream begins with %q: %w", e.Type, errors.Join(err, errors.New("want an endpoint"))))
	}
	l.endpoint = s.url + string(e.Data)
	return l, nil
}

func (l *events) say(frame []byte) error {
	ctx, cancel := context.WithTimeoutCause(l.ctx, endurance, os.ErrDeadlineExceeded)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.endpoint, strings.NewReader(string(frame)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(r)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

func (l *events) hear() ([]byte, error) {
	for {
		e, err := l.Next()
		if err != nil || len(e.Data) > 0 {
			return e.Data, err
		}
	}
}

// leave ends the stream: there is no other way to say it.
func (l *events) leave() error {
	l.cut()
	return nil
}

func (l *events) cut() {
	l.cancel()
	if l.body != nil {
		l.body.Close()
	}
	l.client.CloseIdleConnections()
}

func (l *events) over() error { return nil }
