package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// The ids by which a call says where in its conversation it belongs, each in the order in which they are believed. All of
// them are claims: what they buy is a place in a conversation of the same principal, and nothing else.
var (
	useIDs  = []string{"claudecode/toolUseId", "callId"}
	itemIDs = []string{"itemId"}
)

// The ids of a call that are recorded as asserted beside those of its conversation.
const (
	turnID    = "turnId"
	codexTurn = "x-codex-turn-metadata" // an object with the id of the turn
	maxID     = 256                     // bytes; no honest id is longer
	// SubagentID is the id of a sub-agent, among those that a Peer asserts.
	SubagentID = "agent_id"
)

// HookSource begins the source of every Turn that a client's hook tells, ModelSource that of those heard at a model API.
const (
	HookSource  = "hook:"
	ModelSource = "model:"
)

// The horizons and bounds of a binder. What finds no room makes calls unbound, which is the stricter.
const (
	useFor    = time.Hour        // an announced call may wait so long for its client's user before it comes
	equalFor  = 30 * time.Second // a call without ids is one that was announced with equal arguments no longer ago
	hooksFor  = 24 * time.Hour   // an agent whose hooks are not heard for so long has none
	maxUses   = 4096             // announced calls
	maxTalks  = 1000             // conversations
	maxHooked = 1000             // agents that announce their calls
)

// binder knows what conversations have announced and says to which of them a call belongs. It is a fold of Turns and
// Calls: memory owns it.
type binder struct {
	uses   []*use                // the oldest first
	talks  map[string]*talk      // conversations by principal, agent and id
	hooked map[string]event.Time // agents whose hooks were heard, and when last
}

// use is an announced call.
type use struct {
	event.Use
	Turn     uint64 // that announced it
	At       event.Time
	Talk     string // key of its conversation; empty if the source names none
	Peer     event.Peer
	Name     string // of the conversation
	TurnID   string
	Source   string   // of the turn
	Trace    string   // that the turn is part of
	Believed bool     // that source is
	Call     uint64   // Seq of its call; 0 until that has come
	Others   []uint64 // it may be the call of another turn, too: which of them was it, nobody knows
}

// talk is a conversation.
type talk struct {
	User uint64 // Seq of the last thing that its user said; 0 if nothing was heard of it
	Last string // id of the last piece of its transcript that was heard
	At   event.Time
}

func newBinder() *binder {
	return &binder{talks: map[string]*talk{}, hooked: map[string]event.Time{}}
}

// apply folds an event.
func (b *binder) apply(e event.Event) {
	switch body := e.Body.(type) {
	case *event.Turn:
		b.turn(e, body)
	case *event.Call:
		b.call(e, body)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Result,
		*event.Signal, *event.Closed:
	}
}

func (b *binder) turn(e event.Event, t *event.Turn) {
	if strings.HasPrefix(t.Source, HookSource) {
		room(b.hooked, maxHooked, func(at event.Time) event.Time { return at })
		b.hooked[agentKey(&t.Peer)] = e.At
	}
	key := ""
	if t.Conversation != "" {
		key = talkKey(&t.Peer, t.Conversation)
		b.talk(key, e, t)
	}
	if t.Trace != "" {
		b.talk(traceKey(t.Principal, t.Trace), e, t)
	}
	if t.Role != event.RoleAssistant {
		return
	}
	uses := slices.Clone(t.Uses)
	for _, id := range t.Calls {
		if !slices.ContainsFunc(uses, func(u event.Use) bool { return u.ID == id }) {
			uses = append(uses, event.Use{ID: id})
		}
	}
	for _, u := range uses {
		if !b.knows(&t.Peer, u) {
			b.uses = append(b.uses, &use{
				Use: u, Turn: e.Seq, At: e.At, Talk: key, Peer: t.Peer, Name: t.Conversation, TurnID: t.ID, Trace: t.Trace,
				Source: t.Source, Believed: t.Trust == event.Trusted,
			})
		}
	}
	b.sweep(e.At)
}

// knows reports whether a call was announced before, as by a transcript and by a hook; what the one knows more it adds.
func (b *binder) knows(who *event.Peer, n event.Use) bool {
	if n.ID == "" {
		return false
	}
	for _, u := range b.uses {
		if u.ID == n.ID && u.Peer.Principal == who.Principal && u.Peer.Agent == who.Agent {
			if u.Item == "" {
				u.Item = n.Item
			}
			if u.Tool == "" {
				u.Server, u.Tool, u.Args = n.Server, n.Tool, n.Args
			}
			return true
		}
	}
	return false
}

func (b *binder) talk(key string, e event.Event, t *event.Turn) {
	k := b.talks[key]
	if k == nil {
		room(b.talks, maxTalks, func(k *talk) event.Time { return k.At })
		k = &talk{}
		b.talks[key] = k
	}
	k.At = e.At
	switch {
	case t.Role == event.RoleUser:
		k.User = e.Seq
	case t.ID != "" && len(t.Uses) == 0:
		k.Last = t.ID
	}
}

// call notes that the call of an announcement has come.
func (b *binder) call(e event.Event, c *event.Call) {
	if c.Bound == nil {
		return
	}
	taken := false
	for _, u := range b.uses {
		if taken || u.Call != 0 || u.Peer.Principal != c.Principal || u.ID != c.Bound.Use || u.Server != "" && u.Server != c.Server {
			continue // of another server: its hook was judged as well
		}
		if taken = u.ID != "" || u.Turn == c.Bound.Turn; taken {
			u.Call = e.Seq
		}
	}
	for _, u := range b.uses {
		if u.Call == 0 && slices.Contains(c.Bound.Others, u.Turn) {
			u.Others = slices.DeleteFunc(append(slices.Clone(c.Bound.Others), c.Bound.Turn), func(t uint64) bool { return t == u.Turn })
		}
	}
	if !taken && c.Bound.Confidence == event.Exact && c.Bound.Use != "" { // of a client's own tool
		b.uses = append(b.uses, &use{Use: event.Use{ID: c.Bound.Use}, Turn: e.Seq, At: e.At, Peer: c.Peer, Name: c.Bound.Conversation, Call: e.Seq})
	}
	b.sweep(e.At)
}

// sweep forgets announcements that are too old, and the oldest where there are too many.
func (b *binder) sweep(at event.Time) {
	n := max(0, len(b.uses)-maxUses)
	for n < len(b.uses) && at.Sub(b.uses[n].At) > useFor {
		n++
	}
	clear(b.uses[:n])
	if b.uses = b.uses[n:]; len(b.uses) == 0 {
		b.uses = nil
	}
}

// room makes room for one more entry: the one that was used first goes.
func room[T any](m map[string]T, most int, used func(T) event.Time) {
	if len(m) < most {
		return
	}
	var oldest string
	first := true
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if first || used(m[k]) < used(m[oldest]) {
			oldest, first = k, false
		}
	}
	delete(m, oldest)
}

func agentKey(p *event.Peer) string { return strconv.Quote(p.Principal) + " " + strconv.Quote(p.Agent) }

func talkKey(p *event.Peer, conversation string) string {
	return agentKey(p) + " " + strconv.Quote(conversation)
}

func traceKey(principal, trace string) string { return strconv.Quote(principal) + " " + trace }

// bind returns to what the call belongs that who makes at the given time, and whom it belongs to; both are nil if no
// conversation is known to which it could. It changes nothing.
func (b *binder) bind(who *Origin, c *event.Call, at event.Time) (*event.Bound, *use) {
	if who.Transport == TransportHook { // told by the conversation itself
		return b.own(c), nil
	}
	if len(b.uses) == 0 && len(b.talks) == 0 && len(b.hooked) == 0 {
		return nil, nil
	}
	s := search{binder: b, call: c, at: at}
	bound, u := s.find()
	last, hooks := b.hooked[agentKey(&c.Peer)]
	distant := u != nil && (bound.By == event.ByArguments || bound.By == event.ByTrace) && u.Peer.Agent != c.Agent // another one has announced it
	missing := hooks && at.Sub(last) <= hooksFor && (u == nil || distant)
	if bound == nil && missing {
		bound = &event.Bound{By: event.ByNothing, Confidence: event.Unsure}
	}
	if bound != nil {
		bound.Missing = missing
	}
	return bound, u
}

// own binds a call of a client's own tool, of which its hook tells: where it has no id, by the conversation that tells it.
func (b *binder) own(c *event.Call) *event.Bound {
	out := &event.Bound{By: event.ByCall, Confidence: event.Exact, Subagent: c.Asserted[SubagentID], Use: first(c, useIDs)}
	if string(c.ID) == `""` {
		out.By = event.BySession
	}
	for _, name := range conversationIDs {
		if id := c.Asserted[name]; id != "" {
			out.Conversation = id
			if k := b.talks[talkKey(&c.Peer, id)]; k != nil {
				out.Turn = k.User
			}
			break
		}
	}
	return out
}

// search looks for the announcement of one call.
type search struct {
	*binder
	call *event.Call
	at   event.Time
	args string // digest, once something asks for it
}

func (s *search) find() (*event.Bound, *use) {
	if id := first(s.call, useIDs); id != "" {
		if bound, u := s.choose(event.ByCall, s.fit(func(u *use) bool { return u.ID == id })); bound != nil {
			return bound, u
		}
	}
	if id := first(s.call, itemIDs); id != "" {
		if bound, u := s.choose(event.ByItem, s.fit(func(u *use) bool { return u.Item == id })); bound != nil {
			return bound, u
		}
	}
	if id := s.call.Asserted[turnID]; id != "" {
		if bound, u := s.choose(event.ByTurn, s.fit(func(u *use) bool { return u.TurnID == id && s.equal(u) })); bound != nil {
			return bound, u
		}
	}
	if bound, u := s.session(); bound != nil {
		return bound, u
	}
	if bound, u := s.choose(event.ByArguments, s.fit(s.equal)); bound != nil {
		return bound, u
	}
	return s.trace()
}

// trace binds by the trace that the call is part of: to an announcement in it, else to what the user said last in it.
func (s *search) trace() (*event.Bound, *use) {
	id := s.call.Trace
	if id == "" {
		return nil, nil
	}
	if bound, u := s.choose(event.ByTrace, s.fit(func(u *use) bool { return u.Trace == id })); bound != nil {
		return bound, u
	}
	if k := s.talks[traceKey(s.call.Principal, id)]; k != nil {
		return &event.Bound{By: event.ByTrace, Confidence: event.Likely, Turn: k.User}, nil
	}
	return nil, nil
}

// session binds by the conversation that the call names: to an announcement in it, else to what its user said last.
func (s *search) session() (*event.Bound, *use) {
	for _, name := range conversationIDs {
		id := s.call.Asserted[name]
		if id == "" {
			continue
		}
		key := talkKey(&s.call.Peer, id)
		if bound, u := s.choose(event.BySession, s.fit(func(u *use) bool { return u.Talk == key && s.equal(u) })); bound != nil {
			return bound, u
		}
		if k := s.talks[key]; k != nil {
			return &event.Bound{By: event.BySession, Confidence: event.Likely, Turn: k.User, Conversation: id}, nil
		}
	}
	return nil, nil
}

// fit returns the announcements by the caller's principal that are of the tool that is called, or of an unknown one.
func (s *search) fit(want func(*use) bool) (out []*use) {
	for _, u := range s.uses {
		same := u.Peer.Principal == s.call.Principal && (u.Server == "" || u.Server == s.call.Server) && (u.Tool == "" || u.Tool == s.call.Tool)
		if same && s.at.Sub(u.At) <= useFor && want(u) {
			out = append(out, u)
		}
	}
	return out
}

// equal reports whether the call is the one that u announces, as far as tool and arguments can say.
func (s *search) equal(u *use) bool {
	if u.Tool != s.call.Tool || u.Server == "" || u.Args == "" || s.at.Sub(u.At) > equalFor ||
		!u.of(s.call.Agent) {
		return false
	}
	if s.args == "" {
		s.args = ArgsDigest(s.call.Args)
	}
	return u.Args == s.args
}

// of reports whether an agent of this name can have announced u. To a model API, most call themselves as the library that they
// use does.
func (u *use) of(agent string) bool {
	return agent == "" || u.Peer.Agent == "" || u.Peer.Agent == agent || strings.HasPrefix(u.Source, ModelSource)
}

// choose takes the first announcement whose call has not come. Where it makes a difference which of several it is, that
// is said: another conversation, or another agent in it, has other things said.
func (s *search) choose(by event.Binding, fit []*use) (*event.Bound, *use) {
	if len(fit) == 0 {
		return nil, nil
	}
	free := slices.DeleteFunc(slices.Clone(fit), func(u *use) bool { return u.Call != 0 })
	u := fit[len(fit)-1]
	if len(free) > 0 {
		u = free[0]
	}
	out := &event.Bound{
		By: by, Confidence: event.Exact, Turn: u.Turn, Use: u.ID, Conversation: u.Name, Subagent: u.Peer.Asserted[SubagentID],
	}
	if by != event.ByCall && by != event.ByItem || !u.Believed {
		out.Confidence = event.Likely
	}
	for _, o := range free {
		if o.Talk != u.Talk || o.Talk == "" && o.Peer.Agent != u.Peer.Agent || o.Peer.Asserted[SubagentID] != u.Peer.Asserted[SubagentID] {
			out.Others = append(out.Others, o.Turn)
		}
	}
	out.Others = append(out.Others, u.Others...)
	slices.Sort(out.Others)
	out.Others = slices.Compact(out.Others)
	out.Others = out.Others[:min(len(out.Others), event.MaxEvidence)]
	switch {
	case len(free) == 0 && by == event.ByCall, len(free) == 0 && by == event.ByItem: // its call has come before
		out.Confidence = event.Ambiguous
		return out, nil
	case len(free) == 0:
		return nil, nil
	case len(out.Others) > 0:
		out.Confidence = event.Ambiguous
	}
	return out, u
}

// joins adds to what a caller asserts which conversation its call was found to belong to, so that its session is that of
// the conversation. An ambiguous call stays where it was.
func (u *use) joins(bound *event.Bound, p *event.Peer) {
	if u == nil || bound.Confidence == event.Ambiguous || u.Peer.Agent != p.Agent {
		return
	}
	merged := map[string]string{}
	for _, name := range conversationIDs {
		if id := u.Peer.Asserted[name]; id != "" {
			merged[name] = id
		}
	}
	maps.Copy(merged, p.Asserted) // what it says itself counts
	if len(merged) > 0 {
		p.Asserted = merged
	}
}

// first returns the first of the named ids that the call has.
func first(c *event.Call, names []string) string {
	for _, name := range names {
		if id := c.Asserted[name]; id != "" {
			return id
		}
	}
	return ""
}

// ArgsDigest names arguments, given as they are stored: it is equal for arguments that are equal, however they are written. The
// intent that a model declares is none of them: whoever announces a call may have it among them, and the call has not.
func ArgsDigest(args []byte) string {
	sum := sha256.Sum256(wire.CanonicalArgs(args))
	return hex.EncodeToString(sum[:])
}

// unannounced is the signal that a call has come of which its agent, which announces its calls, has said nothing. Missed is
// how many such calls of the same tool came since the last signal and have none of their own.
func unannounced(c *event.Call, missed int) *event.Signal {
	text := fmt.Sprintf("a call of %s/%s that the hooks of %s have not announced", c.Server, c.Tool, c.Agent)
	if missed > 0 {
		text += fmt.Sprintf(" (and %d more before it)", missed)
	}
	return &event.Signal{Source: "binder", Name: "unannounced", Link: c.Link, Server: c.Server, Text: text}
}

// binderImage is a binder written down.
type binderImage struct {
	_      struct{} `cbor:",toarray"`
	Uses   []*use
	Talks  map[string]*talk
	Hooked map[string]event.Time
}

func (b *binder) image() binderImage {
	return binderImage{Uses: b.uses, Talks: b.talks, Hooked: b.hooked}
}

func (img binderImage) binder() *binder {
	b := newBinder()
	b.uses = img.Uses
	maps.Copy(b.talks, img.Talks)
	maps.Copy(b.hooked, img.Hooked)
	return b
}

// claims returns who makes the call in m, refined by the conversation that it names, and all that the call asserts about
// its place in it.
func claims(who Origin, m *wire.Message) (Origin, map[string]string) {
	mine, call := who.Peer.Asserted, who.Peer.Asserted
	set := func(to *map[string]string, name, id string) {
		if id == "" || len(id) > maxID {
			return
		}
		merged := maps.Clone(*to)
		if merged == nil {
			merged = map[string]string{}
		}
		merged[name] = strings.Clone(id)
		*to = merged
	}
	m.EachMeta(func(key string, v gjson.Result) {
		switch {
		case slices.Contains(conversationIDs[:2], key):
			set(&mine, key, v.Str)
			set(&call, key, v.Str)
		case slices.Contains(useIDs, key), slices.Contains(itemIDs, key):
			set(&call, key, v.Str)
		case key == codexTurn:
			set(&call, turnID, v.Get("turn_id").Str)
		}
	})
	who.Peer.Asserted = mine
	return who, call
}
