package proxy

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/snapshot"
)

// Snapshots keeps what memory was after some event, so that not all of the history has to be folded again. It may lose
// it at any time.
type Snapshots interface {
	// Snapshot returns what was saved last, and up to which event it goes; 0 if there is nothing.
	Snapshot() (seq uint64, data []byte, err error)
	// SaveSnapshot keeps data, which goes up to the event seq, in place of what was saved before. One at a time.
	SaveSnapshot(seq uint64, data []byte) error
}

// SnapshotEvery is after how many events a snapshot is made where GateConfig does not say so: folding so many takes about
// a second.
const SnapshotEvery = 250_000

// keeper makes snapshots.
type keeper struct {
	Snapshots // nil if none are wanted
	build     string
	every     uint64
	saved     atomic.Uint64 // up to which event the last one goes; 0 if there is none of the policy in force
	busy      atomic.Bool   // one is being made
	running   sync.WaitGroup
	quit      atomic.Bool
}

// due reports whether events up to last are worth a snapshot: every n of them are.
func (k *keeper) due(last, n uint64) bool {
	return k.Snapshots != nil && last >= k.saved.Load()+n
}

// recover builds memory from what is on disk: from the newest snapshot if it fits, else from the first event on.
func (g *Gate) recover(p *rules.Policy) (m *memory, from uint64, err error) {
	if m, err = g.restore(p); err != nil {
		g.log.Warn("the snapshot is not used; the whole history is folded", "reason", err)
	}
	if m == nil {
		m = newMemory(p)
	}
	from = m.last
	return m, from, m.refold(g.recorder, &g.keeper.quit)
}

// restore returns memory as it was at the newest snapshot; nil if there is none.
func (g *Gate) restore(p *rules.Policy) (m *memory, err error) {
	if g.keeper.Snapshots == nil {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil { // it is a cache: whatever is wrong with it, the log is there
			m, err = nil, fmt.Errorf("restoring it panicked: %v", r)
		}
	}()
	seq, data, err := g.keeper.Snapshot()
	if err != nil || seq == 0 {
		return nil, err
	}
	m, err = restoreMemory(p, g.keeper.build, data)
	if err == nil && m.last != seq {
		m, err = nil, fmt.Errorf("%w: it ends at event %d, not at %d", errSnapshot, m.last, seq)
	}
	return m, err
}

// begin recovers memory at the start.
func (k *keeper) begin(g *Gate) (*memory, error) {
	start := time.Now()
	m, from, err := g.recover(g.Policy())
	if err != nil {
		return nil, err
	}
	k.saved.Store(from)
	if m.folded > 0 || from > 0 {
		g.log.Info("history recovered", "events", m.folded, "snapshot", from, "took", time.Since(start).Round(time.Millisecond))
	}
	if k.due(m.last, k.every) {
		k.keep(g, m)
	}
	return m, nil
}

// keep writes down memory that nobody changes meanwhile, and saves it. It returns up to which event the snapshot goes; 0 if
// there is none.
func (k *keeper) keep(g *Gate, m *memory) uint64 {
	if !k.busy.CompareAndSwap(false, true) {
		return 0
	}
	defer k.busy.Store(false)
	start := time.Now()
	data, err := m.snapshot(k.build)
	if err == nil {
		err = k.SaveSnapshot(m.last, data)
	}
	k.made(g, m.state.Policy(), m.last, err, "bytes", len(data), "took", time.Since(start).Round(time.Millisecond))
	if err != nil {
		return 0
	}
	return m.last
}

// made notes that there is a snapshot. If it failed, the next try comes when the next one is due.
func (k *keeper) made(g *Gate, p *rules.Policy, last uint64, err error, about ...any) {
	if p == g.Policy() {
		k.saved.Store(last)
	}
	if err != nil {
		g.log.Warn("no snapshot could be made; the next start folds more of the history", "error", err)
		return
	}
	g.log.Debug("snapshot", append([]any{"seq", last}, about...)...)
}

// check makes a snapshot in the background if one is due. The gate's own memory is not touched, since writing it down
// would stop the gate for as long as that takes: the snapshot before and the events since then give the same.
func (k *keeper) check(g *Gate) {
	if !k.due(g.mem.last, k.every) || !k.busy.CompareAndSwap(false, true) {
		return
	}
	p, last := g.Policy(), g.mem.last
	k.running.Go(func() {
		defer k.busy.Store(false)
		defer func() {
			if r := recover(); r != nil {
				k.made(g, p, last, fmt.Errorf("it panicked: %v\n%s", r, debug.Stack()))
			}
		}()
		start := time.Now()
		m, from, err := g.recover(p)
		if errors.Is(err, errQuit) {
			return
		}
		var data []byte
		if err == nil {
			data, err = m.snapshot(k.build)
		}
		if err == nil && m.last > from {
			err = k.SaveSnapshot(m.last, data)
		}
		k.made(g, p, m.last, err, "bytes", len(data), "events", m.folded, "took", time.Since(start).Round(time.Millisecond))
	})
}

// errSnapshot says that a snapshot is whole but was made by another program, or of something else.
var errSnapshot = errors.New("proxy: the snapshot does not fit")

// memoryImage is memory written down.
type memoryImage struct {
	_        struct{} `cbor:",toarray"`
	Build    string   // the program that folded it: another one may fold otherwise
	State    []byte
	Sessions map[string]sessionImage
	Links    map[string]*event.Opened
	Open     map[uint64]openImage
	Held     map[uint64]heldImage
	Tasks    map[uint64]taskImage
	Names    map[string]uint64
	Binder   binderImage
	Judging  openImage
	Loaded   string
	Last     uint64
	At       event.Time
}

type sessionImage struct {
	_      struct{} `cbor:",toarray"`
	ID     string
	Active event.Time
	Links  []string
}

type openImage struct {
	_       struct{} `cbor:",toarray"`
	Session string
	Link    string
	Call    *event.Call
}

type taskImage struct {
	_       struct{} `cbor:",toarray"`
	Link    string
	Session string
	Server  string
	Tool    string
	Root    uint64
	Names   []string
	Told    bool
}

type heldImage struct {
	_       struct{} `cbor:",toarray"`
	Open    openImage
	Verdict *event.Verdict
	Since   event.Time
}

// snapshot writes m down. Equal memories give equal bytes; sessions that nobody asks for are left out.
func (m *memory) snapshot(build string) ([]byte, error) {
	state, err := m.state.Snapshot(m.at)
	if err != nil {
		return nil, err
	}
	img := memoryImage{
		Build: build, State: state, Sessions: map[string]sessionImage{}, Links: m.links,
		Open: make(map[uint64]openImage, len(m.open)), Held: make(map[uint64]heldImage, len(m.held)),
		Tasks: make(map[uint64]taskImage, len(m.tasks.calls)), Names: m.tasks.names,
		Binder: m.binder.image(), Judging: m.judging.image(), Loaded: m.loaded, Last: m.last, At: m.at,
	}
	for k, s := range m.dir.sessions {
		if !s.forgettable(m.at) {
			img.Sessions[k] = sessionImage{ID: s.id, Active: s.active, Links: slices.Sorted(maps.Keys(s.links))}
		}
	}
	for call, o := range m.open {
		img.Open[call] = o.image()
	}
	for call, t := range m.tasks.calls {
		img.Tasks[call] = taskImage{Link: t.link, Session: t.session, Server: t.server, Tool: t.tool, Root: t.root, Names: t.names, Told: t.told}
	}
	for call, h := range m.held {
		img.Held[call] = heldImage{Open: h.image(), Verdict: h.verdict, Since: h.since}
	}
	return snapshot.Encode(img)
}

func restoreMemory(p *rules.Policy, build string, data []byte) (*memory, error) {
	var img memoryImage
	if err := snapshot.Decode(data, &img); err != nil {
		return nil, err
	}
	if img.Build != build {
		return nil, fmt.Errorf("%w: it was made by another build of umpire", errSnapshot)
	}
	state, err := rules.RestoreState(p, img.State)
	if err != nil {
		return nil, err
	}
	m := newMemory(p)
	m.state, m.links, m.binder = state, img.Links, img.Binder.binder()
	m.judging, m.loaded, m.last, m.at = img.Judging.open(), img.Loaded, img.Last, img.At
	for k, s := range img.Sessions {
		links := map[string]bool{}
		for _, l := range s.Links {
			links[l] = true
		}
		m.dir.sessions[k] = &session{id: s.ID, active: s.Active, links: links}
	}
	m.dir.roomy = max(fewSessions, 2*len(m.dir.sessions))
	for call, o := range img.Open {
		m.open[call] = o.open()
	}
	m.tasks.names = img.Names
	for call, t := range img.Tasks {
		m.tasks.calls[call] = &task{link: t.Link, session: t.Session, server: t.Server, tool: t.Tool, root: t.Root, names: t.Names, told: t.Told}
	}
	for call, h := range img.Held {
		m.held[call] = heldCall{openCall: h.Open.open(), verdict: h.Verdict, since: h.Since}
	}
	return m, nil
}

// StateOf returns what rules remembered at a snapshot, and up to which event it goes. It is an error if the snapshot was made
// by another program or under another policy.
func StateOf(p *rules.Policy, build string, data []byte) (s *rules.State, seq uint64, err error) {
	defer func() {
		if r := recover(); r != nil { // see restore
			s, seq, err = nil, 0, fmt.Errorf("restoring it panicked: %v", r)
		}
	}()
	m, err := restoreMemory(p, build, data)
	if err != nil {
		return nil, 0, err
	}
	return m.state, m.last, nil
}

func (o openCall) image() openImage { return openImage{Session: o.session, Link: o.link, Call: o.call} }

func (img openImage) open() openCall {
	return openCall{session: img.Session, link: img.Link, call: img.Call}
}
