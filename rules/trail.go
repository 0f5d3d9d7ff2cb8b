package rules

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// What was said is remembered for one to two epochs, and so is that the user has pointed at something, which may have been said
// an epoch before. What is remembered depends on the events of the last three epochs: whatever else retention has removed, and
// whenever the history is folded again, it is the same.
const trailEpoch = 12 * time.Hour

// The bounds of an epoch, in bytes of text: of what the user and the configuration say in a session, of what else is said in
// it, and of all sessions together. What does not fit is not remembered, and until it would have been forgotten anyway,
// what is found nowhere counts as coming from outside. If it is all sessions that have too much, those that were used least
// recently lose what they have.
const (
	maxTalk   = 128 << 10
	maxHeard  = 1 << 20
	maxTexts  = lineage.MaxSources / 2
	maxTrails = 16 << 20
)

// maxPending bounds the calls of a session whose results are waited for.
const maxPending = 1000

// trails are what sessions remember of what was said in them. They are kept if a rule asks for it, or the baseline in force.
type trails struct {
	policy   *Policy
	about    func(server, tool string) string // the description of a tool; empty if unknown
	sessions map[string]*trail
	epoch    int64
	size     int  // of the texts of this epoch
	lazy     bool // texts are read when somebody asks for what is in them

	described map[catalog.Key]described // tools whose description says something to the assistant
	overheard *lineage.Memory           // of described; nil if it is to be made anew
}

// trail is what one session remembers.
type trail struct {
	all     *trails
	seq     uint64 // of the event that used it last
	epoch   int64  // of that event
	texts   []heard
	size    int              // of the texts of its epoch, but for what the user and the configuration said
	talk    int              // of these
	count   int              // of the texts of its epoch
	missing int64            // the epoch of the last text that is not remembered; -1 for none
	deaf    int64            // the epoch of the last words of the user that were not heard, or too many; -1 for none
	touched map[string]int64 // word -> epoch in which it was last true
	pending map[uint64]int64 // calls without result that read what the user has pointed at -> their epoch
	memory  *lineage.Memory  // of texts; nil if it is to be made anew
	tools   *lineage.Memory  // what descriptions of tools say to the assistant; scratch
}

// heard is a text that is remembered.
type heard struct {
	source lineage.Source
	epoch  int64
	text   string
	digest []byte // where no text is kept
}

// read reads it again; nil if that cannot be done.
func (h *heard) read() *lineage.Text {
	if h.digest != nil {
		return readDigest(h.digest, h.source.Class)
	}
	return lineage.Read(h.text, h.source.Class)
}

func newTrails(p *Policy, about func(server, tool string) string) *trails {
	return &trails{policy: p, about: about, sessions: map[string]*trail{}, described: map[catalog.Key]described{}}
}

func (t *trails) newTrail(epoch int64) *trail {
	return &trail{all: t, epoch: epoch, missing: -1, deaf: -1, touched: map[string]int64{}, pending: map[uint64]int64{}}
}

func epochOf(at event.Time) int64 { return int64(at) / int64(trailEpoch) }

// advance forgets everywhere what is too old at the given time.
func (t *trails) advance(at event.Time) {
	now := epochOf(at)
	if now == t.epoch {
		return
	}
	t.epoch, t.size = now, 0
	for id, s := range t.sessions {
		if s.epoch < now-1 {
			delete(t.sessions, id)
			continue
		}
		s.expire(now)
	}
}

// of returns the trail of the session of e at its time.
func (t *trails) of(e event.Event) *trail {
	t.advance(e.At)
	s := t.sessions[e.Session]
	if s == nil {
		s = t.newTrail(t.epoch)
		t.sessions[e.Session] = s
	}
	if s.seq = e.Seq; s.epoch != t.epoch {
		s.epoch, s.size, s.talk, s.count = t.epoch, 0, 0, 0
	}
	return s
}

// expire forgets what is too old in the given epoch.
func (s *trail) expire(now int64) {
	n := len(s.texts)
	for _, h := range s.texts {
		if h.epoch < now-1 && h.source.Class == lineage.User {
			s.deaf = max(s.deaf, h.epoch+2)
		}
	}
	s.texts = slices.DeleteFunc(s.texts, func(h heard) bool { return h.epoch < now-1 })
	old := func(epoch int64) bool { return epoch < now-1 }
	maps.DeleteFunc(s.touched, func(_ string, epoch int64) bool { return old(epoch) })
	maps.DeleteFunc(s.pending, func(_ uint64, epoch int64) bool { return old(epoch) })
	if s.missing >= 0 && s.missing < now-1 {
		s.missing, n = -1, -1
	}
	if s.deaf < now-1 {
		s.deaf = -1
	}
	if n != len(s.texts) {
		s.memory = nil
	}
}

// recall returns the memory of the texts.
func (s *trail) recall() *lineage.Memory {
	if s.memory == nil {
		s.memory = &lineage.Memory{}
		for _, h := range s.texts {
			if !s.memory.Add(h.source, h.read()) {
				s.missing = max(s.missing, h.epoch)
			}
		}
		if s.missing >= 0 {
			s.memory.Lose()
		}
	}
	return s.memory
}

// lose notes that something was said that is not remembered, by somebody of a class.
func (s *trail) lose(class lineage.Class) {
	if s.missing = s.epoch; class == lineage.User {
		s.deaf = s.epoch
	}
	if s.memory != nil {
		s.memory.Lose()
	}
}

// add adds a text to the trail of a session. Read is what was read of it, if that was done before.
func (t *trails) add(s *trail, h heard, read any) {
	if h.text == "" && h.digest == nil {
		return
	}
	text, _ := read.(*lineage.Text)
	if text != nil && text.Said() != said(h.source.Class) {
		text = nil
	}
	length := len(h.text)
	if h.digest != nil {
		if text == nil {
			text = h.read()
		}
		if text == nil { // it cannot be read
			s.lose(h.source.Class)
			return
		}
		length = text.Size()
	}
	size, most := &s.size, maxHeard
	if said(h.source.Class) {
		size, most = &s.talk, maxTalk
	}
	if *size+length > most || s.count >= maxTexts {
		s.lose(h.source.Class)
		return
	}
	*size += length
	s.count++
	t.size += length
	h.epoch = s.epoch
	if !t.lazy || s.memory != nil {
		if text == nil {
			text = h.read()
		}
		if !s.recall().Add(h.source, text) {
			s.lose(h.source.Class &^ lineage.User) // all that it says in so many words is there
		}
	}
	s.texts = append(s.texts, h)
	if t.size > maxTrails {
		t.shrink()
	}
}

// shrink makes the sessions that were used least recently lose what was said in this epoch, until half of the room is free.
func (t *trails) shrink() {
	list := slices.SortedFunc(maps.Values(t.sessions), func(a, b *trail) int { return cmp.Compare(a.seq, b.seq) })
	for _, s := range list {
		if t.size <= maxTrails/2 {
			return
		}
		if s.epoch != t.epoch || s.size+s.talk == 0 {
			continue
		}
		t.size -= s.size + s.talk
		s.size, s.talk, s.count, s.missing, s.memory = 0, 0, 0, s.epoch, nil
		s.texts = slices.DeleteFunc(s.texts, func(h heard) bool { return h.epoch == s.epoch })
	}
}

// said folds a piece of the conversation.
func (t *trails) said(e event.Event, b *event.Turn) {
	class, ok := classOf(b)
	if !ok {
		return
	}
	source := lineage.Source{Seq: e.Seq, Tool: string(b.Role)}
	method, overMCP := strings.CutPrefix(b.Source, event.MCP+":")
	if overMCP {
		source.Server, source.Tool = b.Server, method
	}
	resource := expr.Tool{}
	if method == event.ReadResource && b.Role == event.RoleTool {
		resource = t.policy.tool(b.Server, method)
	}
	if resource.Results == "trusted" {
		class = lineage.Trusted
	}
	s := t.of(e)
	text, others := b.Text, ""
	switch {
	case class == lineage.Untrusted && b.Repeats != 0:
		text = s.beyond(b.Repeats, text)
	case class == lineage.User && overMCP:
		text, others = s.typed(text)
	case class == lineage.User && s.quotes(text):
		class = lineage.Untrusted
	}
	source.Class = class
	h := heard{source: source, text: text}
	read := e.Read
	if text != b.Text {
		read = nil // of all of it
	}
	if len(b.Lineage) > 0 {
		h.text, h.digest = "", b.Lineage
	}
	known := class == lineage.Untrusted && h.digest != nil && b.Repeats != 0 && s.repeats(b.Repeats, h, read)
	switch {
	case class != lineage.Untrusted:
		if !overMCP { // what is put into a form says nothing about what else was said
			s.touched[string(b.Role)] = s.epoch
		}
	case !known && (h.digest != nil || text != "") || b.Repeats == 0:
		s.touched["untrusted"] = s.epoch
	}
	if known || h.digest != nil && class == lineage.User && overMCP { // whose words these are, a digest does not tell
		return
	}
	if resource.Named {
		for _, effect := range resource.Effects {
			if s.touched[effect] = s.epoch; effect == "private" {
				h.source.Class |= lineage.Private
			}
		}
	}
	t.add(s, h, read)
	t.add(s, heard{source: lineage.Source{Seq: e.Seq, Server: source.Server, Tool: source.Tool, Class: lineage.Untrusted}, text: others}, nil)
	switch unheard := b.Size > 0 && b.Text == "" && h.digest == nil; {
	case unheard, hasTruncated(b.Findings) && class == lineage.Untrusted:
		s.lose(class)
	case hasTruncated(b.Findings) && class == lineage.User:
		s.deaf = s.epoch
	}
}

// beyond returns what a text has that is not remembered as the result of a call which it claims to repeat: that is known, with
// what is known of its source, and the rest is whatever it is.
func (s *trail) beyond(call uint64, text string) string {
	said := strings.TrimSpace(text)
	for _, h := range s.texts {
		result := strings.TrimSpace(h.text)
		if h.source.Seq != call || h.source.Server == "" || result == "" {
			continue
		}
		if strings.Contains(result, said) {
			return ""
		}
		if before, after, ok := strings.Cut(text, result); ok {
			return strings.TrimSpace(before + "\n" + after)
		}
	}
	return text
}

// repeats reports whether all that is kept of a text is in the result of a call which it claims to repeat.
func (s *trail) repeats(call uint64, h heard, read any) bool {
	text, _ := read.(*lineage.Text)
	if text == nil {
		text = h.read()
	}
	return text != nil && slices.ContainsFunc(s.texts, func(o heard) bool {
		return o.source.Seq == call && o.source.Server != "" && o.text != "" && text.Within(o.read())
	})
}

func hasTruncated(findings []event.Finding) bool {
	return slices.ContainsFunc(findings, func(f event.Finding) bool { return f.Kind == event.Truncated })
}

// call notes whether the user has pointed at what a call is to read.
func (t *trails) call(e event.Event, c *expr.Call) {
	s := t.of(e)
	if len(s.pending) >= maxPending {
		return // what it reads does not count as pointed at
	}
	most := lineage.MaxValues
	if args, ok := c.Document(); ok && s.points(args, &most) {
		s.pending[e.Seq] = s.epoch
	}
}

// points reports whether one of the texts in v is more than a letter or two, and the user has said it. It looks at so many at
// most.
func (s *trail) points(v any, most *int) bool {
	switch v := v.(type) {
	case string:
		if *most--; len(v) < 3 || len(v) > lineage.MaxValue || *most < 0 {
			return false
		}
		o := s.recall().Trace([]string{v}, nil)
		return o.Said
	case []any:
		return slices.ContainsFunc(v, func(x any) bool { return s.points(x, most) })
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if s.points(v[name], most) {
				return true
			}
		}
	}
	return false
}

// result folds the answer to a call.
func (t *trails) result(e event.Event, b *event.Result) {
	s := t.of(e)
	_, named := s.pending[e.Cause]
	if b.Outcome != event.OutcomeStarted && b.Outcome != event.OutcomeInput {
		delete(s.pending, e.Cause)
	}
	tool := t.policy.tool(b.Server, b.Tool)
	source := lineage.Source{Seq: e.Cause, Server: b.Server, Tool: b.Tool, Class: lineage.Untrusted}
	switch {
	case b.Seen: // by a server of which nothing is known
	case tool.Results == "trusted":
		source.Class = lineage.Trusted
	case named:
		source.Class = lineage.Named
	}
	for _, effect := range tool.Effects {
		if s.touched[effect] = s.epoch; effect == "private" {
			source.Class |= lineage.Private
		}
	}
	trusted := source.Class&lineage.Trusted != 0
	if !trusted {
		s.touched["untrusted"] = s.epoch
	}
	t.add(s, heard{source: source, text: Texts(b)}, e.Read)
	if hasTruncated(b.Findings) && !trusted {
		s.lose(source.Class)
	}
}

// Trace implements expr.Trail.
func (s *trail) Trace(values []string) lineage.Origin { return s.recall().Trace(values, s.tools) }

// Asks implements expr.Trail.
func (s *trail) Asks(class lineage.Class, server string, tool *expr.Tool) lineage.Answer {
	a := lineage.Action{Server: server, Name: tool.Name, About: s.all.about(server, tool.Name)}
	if tool.Named {
		a.Effects = tool.Effects
	}
	if class == lineage.Spoken {
		answer := s.recall().Urged(a)
		if !answer.Yes && s.tools != nil {
			answer = s.tools.Urged(a)
		}
		return answer
	}
	return s.recall().Asked(a)
}

// Locate implements expr.Trail.
func (s *trail) Locate(source lineage.Source, value string) (from, to int) {
	for _, h := range s.texts {
		if h.source == source {
			if from, to, ok := lineage.Locate(h.text, value); ok {
				return from, to
			}
		}
	}
	return 0, 0
}

// Touched implements expr.Trail.
func (s *trail) Touched(word string) bool { _, ok := s.touched[word]; return ok }

// peek returns the trail of a session as it will be at the time of e, without changing it.
func (t *trails) peek(e event.Event) *trail {
	now := epochOf(e.At)
	s := t.sessions[e.Session]
	switch {
	case s == nil || s.epoch < now-1:
		s = t.newTrail(now)
	case t.epoch != now:
		later := &trail{all: t, epoch: now, missing: s.missing, deaf: s.deaf, touched: maps.Clone(s.touched), texts: slices.Clone(s.texts), memory: s.memory}
		later.expire(now)
		s = later
	}
	s.tools = t.overhear()
	return s
}
