package transcript

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

// Line is something that happens.
type Line struct {
	At     time.Duration // since the transcript begins
	Event  event.Event   // its Session and Body, and its Cause if that is given by number; a nil Body sets the clock
	Name   string        // under which other lines speak of the call; empty if it has none
	About  string        // the name of the call that the event is about; empty if Cause is its number, or it is about none
	Answer *event.Result // what becomes of the call if it passes; nil if that is not said
	Clock  time.Time     // when 0s is, if the line says so
	lasts  time.Duration // for how long a call is remembered; 0 if the exception says all of it
	where  []string      // by which arguments
	list   []byte        // the tools of a list, as they stand there
	clean  bool          // nothing in it is marked as taken out: it is as it was sent, not as it is stored
}

// maxRepeat bounds repeat=.
const maxRepeat = 100_000

// Expand reads a line. With repeat=N it is N lines, each every= later than the one before, in which %d is its number.
func Expand(text string) ([]Line, error) {
	first, times, err := parseLine(text, 0)
	if err != nil || times.n == 0 {
		return []Line{first}, err
	}
	out := make([]Line, 0, times.n)
	for i := range times.n {
		l, _, err := parseLine(text, i+1)
		if err != nil {
			return nil, err
		}
		l.At += time.Duration(i) * times.every
		out = append(out, l)
	}
	return out, nil
}

// repeated says how often a line happens; 0 is that it does not say so.
type repeated struct {
	n     int
	every time.Duration
}

// reading is a line that is read.
type reading struct {
	Line
	words
	times repeated
}

// parseLine reads one line; number is what %d stands for, 0 if the line may have to be repeated.
func parseLine(text string, number int) (Line, repeated, error) {
	if word, clock, _ := strings.Cut(text, " "); word == "clock" {
		at, err := time.Parse(time.RFC3339Nano, clock)
		if err != nil {
			err = fmt.Errorf("clock: %q is no time such as %s", clock, Begin.Format(time.RFC3339))
		}
		return Line{Clock: at}, repeated{}, err
	}
	if number > 0 || repeats(text) {
		text = strings.ReplaceAll(text, "%d", strconv.Itoa(max(number, 1)))
	}
	r := reading{Line: Line{clean: true}, words: words{text}}
	at, kind := "", ""
	err := first(func() (err error) { at, err = r.next(); return err }, func() (err error) { kind, err = r.next(); return err })
	if err == nil {
		r.At, err = document.ParseDuration(at)
	}
	if err == nil && r.At < 0 {
		err = fmt.Errorf("%s is before the transcript begins", at)
	}
	if err == nil {
		err = r.event(kind)
	}
	if err == nil && r.rest != "" {
		err = fmt.Errorf("%s: what is %.60q?", kind, r.rest)
	}
	return r.Line, r.times, err
}

// repeats reports whether a line says how often it happens.
func repeats(text string) (found bool) {
	w := words{text}
	_, err1 := w.next()
	kind, err2 := w.next()
	err3 := w.attributes(func(key, _ string) error { found = found || key == "repeat"; return nil })
	return found && kind == "call" && err1 == nil && err2 == nil && err3 == nil
}

// first does one thing after the other, up to the first one that fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) event(kind string) error {
	switch kind {
	case "call":
		return r.call()
	case "result":
		return r.result()
	case "review":
		return r.review()
	case "expired":
		b := &event.Expired{}
		r.Event.Body = b
		err := r.about()
		b.Reason = r.text()
		return err
	case "catalog":
		return r.catalog()
	case "accepted":
		return r.accepted()
	case "exception":
		return r.exception()
	case "revoked":
		b := &event.Revoked{}
		r.Event.Body = b
		err := first(r.about, func() (err error) { b.Who, err = r.next(); return err })
		b.Note = r.text()
		return err
	case "signal":
		return r.signal()
	case "turn":
		return r.turn()
	}
	return fmt.Errorf("%.30q: want call, result, review, expired, catalog, accepted, exception, revoked, signal or turn", kind)
}

// unknown is what is said of an attribute that there is not.
func unknown(kind, key string) error {
	return fmt.Errorf("%s: there is no %s=; a text that begins like that has to stand in quotes", kind, key)
}

// about takes the call that the event is about: #3, or its name.
func (r *reading) about() (err error) {
	word, err := r.next()
	if err != nil {
		return err
	}
	r.Event.Cause, r.About, err = reference(word)
	return err
}

// reference reads the number, or the name, of a call.
func reference(word string) (seq uint64, name string, err error) {
	if digits, ok := strings.CutPrefix(word, "#"); ok {
		seq, err = strconv.ParseUint(digits, 10, 64)
		if err != nil {
			err = fmt.Errorf("%q is no number of an event", word)
		}
		return seq, "", err
	}
	if word == "" {
		return 0, "", fmt.Errorf("of which call? say #3, or call … as=NAME before and NAME here")
	}
	return 0, word, nil
}

// peer sets what is said of who calls.
func peer(p *event.Peer, key, value string) bool {
	switch key {
	case "agent":
		p.Agent, p.Client.Name = value, value
	case "client":
		p.Client.Name = value
	case "version":
		p.Client.Version = value
	case "principal":
		p.Principal = value
	case "workspace":
		p.Workspace = value
	default:
		return false
	}
	return true
}

// found adds what was taken out of a message before it was stored.
func (r *reading) found(list *[]event.Finding, key, value string) bool {
	f := event.Finding{Kind: key, Path: value}
	switch key {
	case event.Redacted, event.Truncated:
	case "secret":
		f.Kind, f.Form = event.Redacted, true
	default:
		return false
	}
	r.clean = false
	*list = append(*list, f)
	return true
}

func (r *reading) call() error {
	c := &event.Call{Peer: Anybody(), ID: json.RawMessage("1")}
	r.Event.Session, r.Event.Body = session, c
	bound := func() *event.Bound {
		if c.Bound == nil {
			c.Bound = &event.Bound{By: event.ByNothing, Confidence: event.Unsure}
		}
		return c.Bound
	}
	err := r.attributes(func(key, value string) (err error) {
		switch key {
		case "as":
			r.Name = value
		case "session":
			r.Event.Session = value
		case "retry":
			c.Retry, _, err = reference("#" + strings.TrimPrefix(value, "#"))
		case "bound":
			by, confidence, _ := strings.Cut(value, "/")
			bound().By, bound().Confidence = event.Binding(by), event.Confidence(confidence)
		case "missing":
			bound().Missing = value == "true"
		case "conversation":
			bound().Conversation = value
		case "subagent":
			bound().Subagent = value
		case "seen":
			c.Seen = value == "true"
		case "intent":
			c.Intent = value
		case "repeat":
			r.times.n, err = strconv.Atoi(value)
			if err == nil && (r.times.n < 1 || r.times.n > maxRepeat) {
				err = fmt.Errorf("repeat=%s: want 1 to %d", value, maxRepeat)
			}
		case "every":
			r.times.every, err = document.ParseDuration(value)
		default:
			if !peer(&c.Peer, key, value) && !r.found(&c.Findings, key, value) {
				err = unknown("call", key)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	name, err := r.next()
	if err != nil {
		return err
	}
	var ok bool
	if c.Server, c.Tool, ok = strings.Cut(name, "/"); !ok {
		return fmt.Errorf("call: want server/tool, not %.60q", name)
	}
	if c.Args, err = r.value("the arguments"); c.Args == nil {
		c.Args = json.RawMessage("{}")
	}
	c.Size = len(c.Args)
	if rest, ok := strings.CutPrefix(r.rest, "-> "); ok && err == nil {
		r.rest = rest
		r.Answer = &event.Result{Server: c.Server, Tool: c.Tool}
		err = r.outcome(r.Answer)
	}
	return err
}

func (r *reading) result() error {
	b := &event.Result{}
	r.Event.Body = b
	err := r.attributes(func(key, value string) (err error) {
		switch key {
		case "session":
			r.Event.Session = value
		case "root":
			b.Root, _, err = reference("#" + strings.TrimPrefix(value, "#"))
		case "text":
			b.Text = value
		default:
			if !r.found(&b.Findings, key, value) {
				err = unknown("result", key)
			}
		}
		return err
	})
	return first(func() error { return err }, r.about, func() error { return r.outcome(b) })
}

// outcome takes how a call ended: ok, or failed {"content": …}.
func (r *reading) outcome(b *event.Result) error {
	word, err := r.next()
	if err != nil {
		return err
	}
	known := []event.Outcome{
		event.OutcomeOK, event.OutcomeFailed, event.OutcomeError, event.OutcomeUnclear, event.OutcomeInput, event.OutcomeStarted,
		event.OutcomeLost, event.OutcomeCancelled,
	}
	if b.Outcome = event.Outcome(word); !slices.Contains(known, b.Outcome) {
		return fmt.Errorf("a call ends with one of %s, not with %.30q", join(known), word)
	}
	if r.rest != "" && !strings.HasPrefix(strings.TrimLeft(r.rest, " "), "{") { // over what was called, if that is not the call's own
		name, err := r.next()
		if err != nil {
			return err
		}
		b.Server, b.Tool, _ = strings.Cut(name, "/")
	}
	b.Content, err = r.value("the result")
	b.Size = len(b.Content)
	return err
}

func join(list []event.Outcome) string {
	var out []string
	for _, o := range list {
		out = append(out, string(o))
	}
	return strings.Join(out, ", ")
}

func (r *reading) review() error {
	b := &event.Review{}
	r.Event.Body = b
	if err := r.about(); err != nil {
		return err
	}
	decision, err := r.next()
	if err != nil {
		return err
	}
	if b.Approve = decision == "approve"; !b.Approve && decision != "deny" {
		return fmt.Errorf("review: want approve or deny, then who, then a note, not %.30q", decision)
	}
	if b.Who, err = r.next(); err == nil && b.Who == "" {
		err = fmt.Errorf("review: by whom?")
	}
	b.Note = r.text()
	return err
}

func (r *reading) catalog() error {
	b := &event.Catalog{}
	r.Event.Body = b
	server, err := r.next()
	if err != nil {
		return err
	}
	list, err := r.value("the list of tools")
	if err != nil {
		return err
	}
	var raw struct{ Tools json.RawMessage }
	if json.Unmarshal(list, b) != nil || len(b.Tools) == 0 || json.Unmarshal(list, &raw) != nil {
		return fmt.Errorf("catalog: want a server and {\"tools\": [{\"name\": …}]}")
	}
	b.Server, r.list = server, raw.Tools
	for i := range b.Tools {
		t := &b.Tools[i]
		if t.Name == "" {
			return fmt.Errorf("catalog: tool %d has no name", i+1)
		}
		r.clean = r.clean && t.Pin == "" && t.Skeleton == "" && t.More == nil && len(t.Doubts) == 0 && len(t.Passages) == 0
		if t.Pin == "" {
			t.Pin = fmt.Sprintf("%s %s %s %s %s %s %s", t.Name, t.Title, t.Description, t.InputSchema, t.OutputSchema, t.Annotations, t.More)
		}
	}
	return nil
}

func (r *reading) accepted() error {
	b := &event.Accepted{Who: "local:ann"}
	r.Event.Body = b
	for len(b.Tools) == 0 || r.rest != "" {
		name, err := r.next()
		if err != nil {
			return err
		}
		server, tool, ok := strings.Cut(name, "/")
		if !ok || b.Server != "" && server != b.Server {
			return fmt.Errorf("accepted: want server/tool, or several of one server, not %.60q", name)
		}
		b.Server, b.Tools = server, append(b.Tools, event.Pin{Name: tool})
	}
	return nil
}

// exception takes what is remembered of a call on hold, or all of it in JSON.
func (r *reading) exception() error {
	b := &event.Exception{}
	r.Event.Body = b
	if all, err := r.value("the exception"); err == nil && all != nil {
		if err := json.Unmarshal(all, b); err != nil || len(b.Rules) == 0 {
			return fmt.Errorf("exception: want what umpire export prints of it, {\"who\": …, \"rules\": […]}")
		}
		return nil
	}
	r.lasts = 24 * time.Hour
	if err := r.about(); err != nil {
		return err
	}
	err := r.attributes(func(key, value string) (err error) {
		switch key {
		case "as":
			r.Name = value
		case "for":
			r.lasts, err = document.ParseDuration(value)
		case "where":
			r.where = strings.Split(value, ",")
		default:
			err = unknown("exception", key)
		}
		return err
	})
	if err == nil {
		b.Who, err = r.next()
	}
	b.Note = r.text()
	return err
}

func (r *reading) signal() error {
	b := &event.Signal{Source: "wire", Server: "files"}
	r.Event.Session, r.Event.Body = session, b
	err := r.attributes(func(key, value string) error {
		switch key {
		case "session":
			r.Event.Session = value
		case "of":
			b.Server = value
		default:
			return unknown("signal", key)
		}
		return nil
	})
	if err == nil {
		b.Name, err = r.next()
	}
	if err == nil && b.Name == "" {
		err = fmt.Errorf("signal: want its name, then its text")
	}
	b.Text = r.text()
	return err
}

func (r *reading) turn() error {
	b := &event.Turn{Source: "api", Trust: event.Trusted}
	r.Event.Session, r.Event.Body = session, b
	role, err := r.next()
	if err == nil && role == string(event.Untrusted) {
		b.Trust = event.Untrusted
		role, err = r.next()
	}
	if err == nil && role == "" {
		err = fmt.Errorf("turn: whose words are it? user, assistant, system or tool")
	}
	if err != nil {
		return err
	}
	b.Role = event.Role(role)
	err = r.attributes(func(key, value string) (err error) {
		switch key {
		case "session":
			r.Event.Session = value
		case "from":
			b.Source = event.MCP + ":" + value
		case "of":
			b.Server = value
		case "lost":
			r.found(&b.Findings, event.Truncated, "text")
		case "size":
			b.Size, err = strconv.Atoi(value)
		case "lineage":
			b.Lineage, err = base64.StdEncoding.DecodeString(value)
		case "repeats":
			b.Repeats, _, err = reference(value)
		default:
			if !peer(&b.Peer, key, value) && !r.found(&b.Findings, key, value) {
				err = unknown("turn", key)
			}
		}
		return err
	})
	if b.Text = r.text(); b.Text != "" || b.Size < 0 {
		b.Size = len(b.Text)
	}
	return err
}
