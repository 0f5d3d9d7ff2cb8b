// Package history reads the history for the commands: from the daemon where one runs, since it owns the file, else from
// the file itself.
package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// Reader reads a history. *store.DB and *Daemon are the two.
type Reader interface {
	// Raw yields the stored events from Seq from on; Watch also waits for more until done is closed.
	Raw(from uint64) iter.Seq2[json.RawMessage, error]
	Watch(done <-chan struct{}, from uint64) iter.Seq2[json.RawMessage, error]
	Sessions() ([]store.Session, error)
	Tools() ([]store.Tool, error)
	ResultOf(call uint64) (uint64, error)
	SettledBy(call uint64) (uint64, error)
	Pruned() (store.Pruned, error)
	Last() uint64 // Seq of the newest event; 0 if there is none, or nobody says
	Check() error
	Close() error
}

// Events decodes what r yields from Seq from on.
func Events(r Reader, from uint64) iter.Seq2[event.Event, error] { return store.Decode(r.Raw(from)) }

// EventsWith is Events, and lets prepare do with each of them what can be done ahead, several at a time.
func EventsWith(r Reader, from uint64, prepare func(*event.Event)) iter.Seq2[event.Event, error] {
	return store.DecodeWith(r.Raw(from), prepare)
}

// Watch decodes what r.Watch yields, when it does.
func Watch(r Reader, done <-chan struct{}, from uint64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for text, err := range r.Watch(done, from) {
			var e event.Event
			if err == nil {
				err = e.UnmarshalJSON(text)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Get returns the event with the given Seq; found is false if there is none.
func Get(r Reader, seq uint64) (e event.Event, found bool, err error) {
	for e, err := range Events(r, seq) {
		return e, err == nil && e.Seq == seq, err
	}
	return event.Event{}, false, nil
}

// Open returns the history in the state directory. Live says that a daemon runs and more can come.
func Open(stateDir string) (r Reader, live bool, err error) {
	d := Dial(filepath.Join(stateDir, config.SocketFile))
	switch _, err := d.Status(); {
	case err == nil:
		return d, true, nil
	case !absent(err):
		return nil, false, fmt.Errorf("the daemon does not answer: %w", err)
	}
	db, err := store.Open(store.Config{Path: filepath.Join(stateDir, config.HistoryFile), ReadOnly: true})
	if err != nil {
		return nil, false, err
	}
	return db, false, nil
}

// ErrEnded says that there is no daemon any more.
var ErrEnded = errors.New("the daemon ended")

// absent reports whether err says that nobody listens.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// Daemon reads the history of a running daemon over its socket.
type Daemon struct{ client *http.Client }

// Dial returns a reader over the socket at path. It connects when it is used.
func Dial(path string) *Daemon {
	var d net.Dialer
	return &Daemon{client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// Status is what a daemon says about itself.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Listen  string    `json:"listen,omitempty"` // empty if it listens on the socket only
	Config  string    `json:"config,omitempty"`
	Policy  string    `json:"policy"` // digest
	Started time.Time `json:"started"`
	Last    uint64    `json:"last"` // Seq of the newest event

	Notify []notify.Channel `json:"notify,omitempty"` // how it tells that a call is on hold
	Bell   bool             `json:"bell,omitempty"`   // whether terminals may ring then
}

// Status asks whether the daemon is there.
func (d *Daemon) Status() (s Status, err error) {
	err = d.get("/v1/status", &s)
	return s, err
}

// Last implements Reader.
func (d *Daemon) Last() uint64 {
	s, err := d.Status()
	if err != nil {
		return 0
	}
	return s.Last
}

// Close implements Reader.
func (d *Daemon) Close() error {
	d.client.CloseIdleConnections()
	return nil
}

// Sessions implements Reader.
func (d *Daemon) Sessions() (out []store.Session, err error) {
	err = d.get("/v1/sessions", &out)
	return out, err
}

// Tools implements Reader.
func (d *Daemon) Tools() (out []store.Tool, err error) {
	err = d.get("/v1/tools", &out)
	return out, err
}

// Accept records that the user accepts tools as they are described now.
func (d *Daemon) Accept(list []event.Accepted) error {
	return d.post("/v1/tools/accepted", list, &struct{}{})
}

// Promote puts the baseline into force that a file of this name holds.
func (d *Daemon) Promote(name string, file []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := d.do(ctx, http.MethodPost, "/v1/baseline?"+url.Values{"name": {name}}.Encode(), file)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Link leads one browser into the web console.
type Link struct {
	URL  string `json:"url"`
	File string `json:"file,omitempty"` // that leads there, too, and only its owner can read; empty if none was wanted
}

// Console opens the web console, at listen if that is not empty, and returns a link that lets one browser in, and with file
// a file that does.
func (d *Daemon) Console(listen string, file bool) (link Link, err error) {
	err = d.post("/v1/console", map[string]any{"listen": listen, "file": file}, &link)
	return link, err
}

// ResultOf implements Reader.
func (d *Daemon) ResultOf(call uint64) (out uint64, err error) {
	err = d.get("/v1/calls/"+strconv.FormatUint(call, 10)+"/result", &out)
	return out, err
}

// SettledBy implements Reader.
func (d *Daemon) SettledBy(call uint64) (out uint64, err error) {
	err = d.get("/v1/calls/"+strconv.FormatUint(call, 10)+"/settled", &out)
	return out, err
}

// Picture says why a call has the score that it has by the baseline that was in force; nil if none was.
func (d *Daemon) Picture(call uint64) (out *baseline.Picture, err error) {
	err = d.get("/v1/calls/"+strconv.FormatUint(call, 10)+"/picture", &out)
	return out, err
}

// Held returns the calls that wait for a person, the oldest first.
func (d *Daemon) Held() (out []review.Held, err error) {
	err = d.get("/v1/held", &out)
	return out, err
}

// Desk is what is on hold at one moment, or what has changed since.
type Desk struct {
	Held   []review.Held  `json:"held,omitempty"`
	Change *review.Change `json:"change,omitempty"` // nil in the first one of a stream, and only there
}

// FollowHeld yields what is on hold, and then what changes, until ctx is done or the daemon ends.
func (d *Daemon) FollowHeld(ctx context.Context) iter.Seq2[Desk, error] {
	return func(yield func(Desk, error) bool) {
		for line, err := range d.lines(ctx, "/v1/held?follow=1") {
			var now Desk
			if err == nil {
				err = json.Unmarshal(line, &now)
			}
			if err != nil && ctx.Err() != nil {
				return
			}
			if !yield(now, err) || err != nil {
				return
			}
		}
	}
}

// Decide ends the hold of a call and returns what became of it. If the call is not on hold, the error is
// review.ErrGone.
func (d *Daemon) Decide(call uint64, by review.Decision) (v event.Verdict, err error) {
	err = d.post("/v1/held/"+strconv.FormatUint(call, 10), by, &v)
	return v, err
}

// Propose returns what a decision would have remembered, and decides nothing.
func (d *Daemon) Propose(call uint64, by review.Decision) (p review.Proposal, err error) {
	err = d.post("/v1/held/"+strconv.FormatUint(call, 10)+"/proposal", by, &p)
	return p, err
}

// Exceptions returns the exceptions that people have made and that are not over, the oldest first.
func (d *Daemon) Exceptions() (out []rules.Exception, err error) {
	err = d.get("/v1/exceptions", &out)
	return out, err
}

// Revoke ends an exception.
func (d *Daemon) Revoke(exception uint64, note string) error {
	return d.post("/v1/exceptions/"+strconv.FormatUint(exception, 10)+"/revoked", review.Decision{Note: note}, &struct{}{})
}

// post asks for something to be done.
func (d *Daemon) post(path string, ask, out any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := d.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the daemon sent something unreadable: %w", err)
	}
	return nil
}

// Hook passes on what a hook of a client was told, and returns the answer. It waits as long as the call does that it is
// about.
func (d *Daemon) Hook(ctx context.Context, client string, about url.Values, raw []byte) (a hook.Answer, err error) {
	resp, err := d.do(ctx, http.MethodPost, "/v1/hooks/"+client+"?"+about.Encode(), raw)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, fmt.Errorf("the daemon sent something unreadable: %w", err)
	}
	return a, nil
}

// Pruned implements Reader.
func (d *Daemon) Pruned() (out store.Pruned, err error) {
	err = d.get("/v1/pruned", &out)
	return out, err
}

// Check implements Reader.
func (d *Daemon) Check() error {
	var problem string
	if err := d.get("/v1/check", &problem); err != nil {
		return err
	}
	if problem != "" {
		return errors.New(problem)
	}
	return nil
}

// refused is what the daemon says when a call is not on hold.
type refused struct{ text string }

// Error implements error.
func (r refused) Error() string { return r.text }

// Is says that a refusal is a review.ErrGone.
func (refused) Is(target error) bool { return target == review.ErrGone }

// Raw implements Reader.
func (d *Daemon) Raw(from uint64) iter.Seq2[json.RawMessage, error] {
	return d.lines(context.Background(), fmt.Sprintf("/v1/events?from=%d", from))
}

// Watch implements Reader.
func (d *Daemon) Watch(done <-chan struct{}, from uint64) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		}()
		for raw, err := range d.lines(ctx, fmt.Sprintf("/v1/events?from=%d&follow=1", from)) {
			if err != nil && ctx.Err() != nil {
				return
			}
			if !yield(raw, err) {
				return
			}
		}
	}
}

// lines yields what the daemon answers, one JSON value a line.
func (d *Daemon) lines(ctx context.Context, path string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		resp, err := d.do(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		lines := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			line, err := lines.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("the daemon broke off: %w", err)
			}
			if err == nil && !json.Valid(line) {
				err = fmt.Errorf("the daemon sent %.60q", line)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

func (d *Daemon) get(path string, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := d.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the daemon sent something unreadable: %w", err)
	}
	return nil
}

func (d *Daemon) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://umpire"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	switch {
	case err != nil && absent(err):
		return nil, fmt.Errorf("%w: %w", ErrEnded, err)
	case err != nil:
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) //nolint:errcheck // the status says enough
		resp.Body.Close()                                       //nolint:errcheck // it was read
		switch resp.StatusCode {
		case http.StatusConflict:
			return nil, refused{strings.TrimSpace(string(text))}
		case http.StatusUnprocessableEntity:
			return nil, errors.New(strings.TrimSpace(string(text)))
		}
		return nil, fmt.Errorf("the daemon answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}
