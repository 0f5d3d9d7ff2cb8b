// Package conversation hears what people, models and tools say to each other, and records it as turns: the requests and
// answers of a model API that pass through it, what is said over MCP beside calls, and what programs post to POST /v1/turns. It
// hears, and does nothing else: whatever goes wrong with it, what it listens to goes on, byte for byte and without delay; but
// what is said over MCP waits for its record, as results do.
package conversation

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Recorder takes in turns, calls that were seen, their results, and signals; the proxy.Gate is one. The Ticket is the promise that they are on disk.
type Recorder interface {
	Record(who proxy.Origin, cause uint64, body event.Body) *proxy.Ticket
}

// Keep says how much of a conversation is recorded.
type Keep string

// What is kept. The zero Keep is KeepText.
const (
	KeepText   Keep = "text"
	KeepDigest Keep = "digest" // no text: role, size, ids, a keyed digest, and hashes by which values are found again
	KeepOff    Keep = "off"    // nothing at all
)

// Config says how an Ear works.
type Config struct {
	Recorder Recorder
	Tools    Tools // nil knows none
	Cleaner  *wire.Cleaner
	Keep     Keep
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil discards
}

// Piece is one piece of a conversation as it was heard.
type Piece struct {
	Role  event.Role
	Trust event.Trust
	Text  string
	ID    string   // of the turn, as the source says
	Calls []string // ids of tool calls that it makes or answers
	Use   *Use     // the call that it makes, if more is known of it than its id

	Failed bool // what a tool gives says that it failed
	Past   bool // it is told again by a request: when it was said is not known, so it announces nothing
}

// Talk is a conversation as its source knows it.
type Talk struct {
	Source string // as in event.Turn
	Peer   event.Peer
	ID     string // names the conversation; may be empty
	Trace  string // id of the trace that it is part of; may be empty
}

// origin says to whom the turns of t belong. All conversations of a source are one link.
func (t Talk) origin() proxy.Origin {
	return proxy.Origin{Link: "turns:" + t.Source, Server: t.Source, Transport: proxy.TransportHTTP, Peer: t.Peer}
}

// Ear turns what it hears into events. What was said is recorded once, however often a client sends it again; after a
// restart it is once more. An Ear can be shared.
type Ear struct {
	Config
	signals proxy.Quota
	heard   atomic.Uint64 // requests that go on with what is told nowhere

	mu    sync.Mutex
	talks map[string]*memory
	keys  int // of all of them
	room  Room
}

// NewEar returns an Ear.
func NewEar(cfg Config) (*Ear, error) {
	if cfg.Recorder == nil || cfg.Cleaner == nil {
		return nil, errors.New("conversation: want a recorder and a cleaner")
	}
	var err error
	if cfg.Keep, err = cfg.Keep.Valid(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Ear{Config: cfg, talks: map[string]*memory{}, room: NewSharedRoom(cfg.Now())}, nil
}

// hearing is one time that somebody tells a conversation from some point on: a request with all that was said before, and
// the answer.
type hearing struct {
	ear     *Ear
	talk    Talk
	last    string          // digest of the piece before
	times   map[uint64]int  // how often a piece was told in it
	made    map[string]made // by the id of the call
	tickets []*proxy.Ticket
}

func (e *Ear) listen(t Talk) *hearing {
	return &hearing{ear: e, talk: t, times: map[uint64]int{}, made: map[string]made{}}
}

// unique returns another text each time.
func (e *Ear) unique() string { return strconv.FormatUint(e.heard.Add(1), 10) }

// hear records those of the pieces that were not heard before. It does not wait for the disk.
func (h *hearing) hear(pieces ...Piece) {
	e := h.ear
	if e.Keep == KeepOff || len(pieces) == 0 {
		return
	}
	m := e.memory(h.talk)
	m.mu.Lock()
	defer m.mu.Unlock()
	left, size := 0, 0 // size of what is not the user's or the model's
	for _, p := range pieces {
		key := h.key(p)
		h.times[key]++
		if h.times[key] <= m.seen[key] {
			continue
		}
		if !e.admit(m, len(p.Text)) {
			if left++; p.Role == event.RoleTool || p.Trust != event.Trusted {
				size += len(p.Text)
			}
			continue
		}
		e.remember(m, key, h.times[key])
		h.record(p)
	}
	if left > 0 {
		e.signal(h.talk, "flood", "", fmt.Sprintf("%d turns are not recorded: too much is said in a short time", left))
	}
	if size > 0 && m.lost.Due(e.Now()) {
		turn := Unheard(h.talk.Source, h.talk.Peer, size)
		turn.Conversation = h.talk.ID
		h.tickets = append(h.tickets, e.Recorder.Record(h.talk.origin(), 0, turn))
	}
}

// record records a piece that was not heard before.
func (h *hearing) record(p Piece) {
	silent := p.Use != nil && p.Text == "" && len(p.Calls) == 0 && !p.Use.Made
	if h.gave(p) || silent && (p.Past || h.ear.announced(p) == nil) { // a call of which nothing is known is nobody's
		return
	}
	h.tickets = append(h.tickets, h.ear.record(h.talk, p))
	switch {
	case p.Use == nil || !p.Use.Made:
	case p.Past: // it was made at some other time
		h.ear.signal(h.talk, "seen", h.server(p.Use), fmt.Sprintf("%s %s was made by the model's side before, and nobody heard of it then: %s/%s",
			p.Use.Kind, strings.Join(p.Calls, " "), h.server(p.Use), p.Use.Tool))
	default:
		h.see(p)
	}
}

// key names a piece and its place: the same words after other words are said anew. What clients add to a conversation
// moves within it, so it is the same wherever it stands.
func (h *hearing) key(p Piece) uint64 {
	parts := []string{string(p.Role), strings.TrimSpace(p.Text), strings.Join(p.Calls, " ")}
	if len(p.Calls) == 0 && p.Use != nil {
		parts = append(parts, p.Use.Tool, p.Use.Args)
	}
	digest := h.ear.Cleaner.Digest(parts...)
	before := h.last
	switch {
	case p.Role == event.RoleSystem:
		before = ""
	case len(p.Calls) > 0: // ids are given once
		before, h.last = "", digest
	default:
		h.last = digest
	}
	return number(h.ear.Cleaner.Digest(before, digest))
}

// end waits for the disk. What did not get there is told again the next time.
func (h *hearing) end() {
	for _, id := range slices.Sorted(maps.Keys(h.made)) {
		h.lose(h.made[id])
	}
	clear(h.made)
	var failed error
	for _, t := range h.tickets {
		failed = cmp.Or(failed, t.Wait())
	}
	if failed != nil {
		h.ear.forget(h.talk)
		if _, ok := h.ear.signals.Take("unrecorded", h.ear.Now()); ok {
			h.ear.Log.Error("a conversation is not recorded", "source", h.talk.Source, "error", failed)
		}
	}
}

// record makes a piece an event.
func (e *Ear) record(t Talk, p Piece) *proxy.Ticket {
	turn := &event.Turn{
		Role: p.Role, Source: t.Source, Trust: p.Trust, Conversation: t.ID, ID: e.id(p.ID), Trace: t.Trace, Peer: t.Peer,
	}
	for _, call := range p.Calls {
		turn.Calls = append(turn.Calls, e.id(call))
	}
	if p.Use != nil && !p.Use.Made && !p.Past {
		turn.Uses = e.announced(p)
	}
	e.Keep.Write(turn, e.Cleaner, p.Text)
	return e.Recorder.Record(t.origin(), 0, turn)
}

// Valid returns k, or KeepText for the zero Keep.
func (k Keep) Valid() (Keep, error) {
	switch k = cmp.Or(k, KeepText); k {
	case KeepText, KeepDigest, KeepOff:
		return k, nil
	}
	return k, fmt.Errorf("conversation: %q: want text, digest or off", k)
}

// Write puts a text into a turn, as far as it is kept.
func (k Keep) Write(turn *event.Turn, cleaner *wire.Cleaner, text string) {
	turn.Size = len(text)
	if k != KeepOff {
		turn.Digest = cleaner.Digest(text)
	}
	switch k {
	case KeepText:
		turn.Text, turn.Findings = clean(cleaner, text)
	case KeepDigest: // of what would be kept: rules see the same
		text, turn.Findings = clean(cleaner, text)
		turn.Lineage = rules.Withheld(turn, text, number(cleaner.Digest("lineage")))
	case KeepOff:
	}
}

// number returns the first 64 bits of a digest.
func number(digest string) uint64 {
	n, err := strconv.ParseUint(digest[:16], 16, 64)
	if err != nil {
		panic("conversation: " + err.Error()) // digests are hexadecimal
	}
	return n
}

// clean returns a text as it may be stored, and what was taken out of it. Within JSON, secrets are found by their names, too.
func clean(cleaner *wire.Cleaner, text string) (string, []event.Finding) {
	var findings []event.Finding
	if start := strings.TrimSpace(text); strings.HasPrefix(start, "{") || strings.HasPrefix(start, "[") {
		if raw := []byte(text); wire.Check(raw) == nil {
			raw, findings = cleaner.Clean("text", raw)
			text = string(raw)
		}
	}
	words, more := cleaner.Words("text", text)
	return strings.Clone(words), append(findings, more...) // else a few words keep a whole request in memory
}

// maxID is how long an id may be. A longer one is recorded as its digest: equal ids stay equal.
const maxID = 256

func (e *Ear) id(id string) string {
	if len(id) > maxID {
		return e.Cleaner.Digest("id", id)
	}
	return strings.Clone(id)
}

// signal records what has to be known about the hearing itself.
func (e *Ear) signal(t Talk, name, server, text string) {
	e.note(t.origin(), t.Source, name, server, text)
}

// note is signal for a source that says to whom it belongs.
func (e *Ear) note(who proxy.Origin, source, name, server, text string) {
	if e.Keep == KeepOff {
		return
	}
	missed, ok := e.signals.Take(name, e.Now())
	if !ok {
		return
	}
	if missed > 0 {
		text = fmt.Sprintf("%s (and %d more were not recorded)", text, missed)
	}
	e.Recorder.Record(who, 0, &event.Signal{
		Source: source, Name: name, Link: who.Link, Server: e.Cleaner.Text(server), Text: e.Cleaner.Text(text),
	})
}

// unheard says that something was said which nobody has heard to its end.
func (e *Ear) unheard(t Talk, what string, err error) {
	e.signal(t, "unheard", "", fmt.Sprintf("%s was not heard to its end: %v", what, err))
}

// panicked says that hearing has failed, whatever was said.
func (e *Ear) panicked(t Talk, p any) {
	e.unheard(t, "a conversation", fmt.Errorf("the ear panicked: %v", p))
}

// ErrFlood says that a turn was not recorded, since too much is said in a short time.
var ErrFlood = errors.New("too much is said in a short time")

// Tell records one piece, and returns once it is on disk. A turn with an id is recorded once; seq is 0 if it was recorded before,
// or if nothing is kept.
func (e *Ear) Tell(t Talk, p Piece) (seq uint64, err error) {
	if e.Keep == KeepOff {
		return 0, nil
	}
	m := e.memory(t)
	m.mu.Lock()
	var key uint64
	if p.ID != "" {
		h := e.listen(t)
		h.last = e.Cleaner.Digest("id", p.ID)
		key = h.key(p)
	}
	var ticket *proxy.Ticket
	switch {
	case p.ID != "" && m.seen[key] > 0:
	case !e.admit(m, len(p.Text)):
		err = ErrFlood
	default:
		if p.ID != "" {
			e.remember(m, key, 1)
		}
		ticket = e.record(t, p)
	}
	m.mu.Unlock()
	if err != nil {
		e.signal(t, "flood", "", "a turn is not recorded: "+err.Error())
	}
	if ticket == nil {
		return 0, err
	}
	if err := ticket.Wait(); err != nil {
		e.forget(t) // and not for recorded
		return 0, err
	}
	return ticket.Seq, nil
}

// memory returns what is known of a conversation.
func (e *Ear) memory(t Talk) *memory {
	key := t.key()
	now := e.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.talks[key]
	if m == nil {
		e.tidy(now)
		m = &memory{seen: map[uint64]int{}, room: NewRoom(now)}
		e.talks[key] = m
	}
	m.used = now
	return m
}

// tidy forgets conversations over which time has passed, and at the bounds those that nobody has told of for the longest
// time. What is told of them again is recorded again.
func (e *Ear) tidy(now time.Time) {
	for key, m := range e.talks {
		if now.Sub(m.used) > proxy.Idle {
			e.drop(key)
		}
	}
	for len(e.talks) >= maxTalks || len(e.talks) > 0 && e.keys >= maxKeys {
		oldest := ""
		for key, m := range e.talks {
			if oldest == "" || m.used.Before(e.talks[oldest].used) {
				oldest = key
			}
		}
		e.drop(oldest)
	}
}

func (e *Ear) forget(t Talk) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop(t.key())
}

// key tells conversations apart: an id is a claim, so nobody can speak for another principal.
func (t Talk) key() string {
	return fmt.Sprintf("%q %q %q %q", t.Source, t.Peer.Principal, t.Peer.Agent, t.ID)
}
