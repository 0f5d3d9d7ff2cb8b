package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/rules/event"
)

// Version is the version of the files that this package writes and reads. In others, scores mean something else.
const Version = 2

// MaxSize bounds the file of a baseline, in bytes.
const MaxSize = 24 << 20

// Baseline is what is normal, for every agent of a history. Once it is written to a file it does not change: the file has its
// digest.
type Baseline struct {
	From   event.Time `json:"from"`   // the first call that taught
	Until  event.Time `json:"until"`  // the last one
	Enough Evidence   `json:"enough"` // what is needed before calls are compared with what an agent does
	Agents []*Agent   `json:"agents"`
	// Groups are agents that use the same servers, taken together: what an agent is compared with of which too little is known.
	Groups []*Agent `json:"groups,omitempty"`
	// Against is the digest of the baseline that was in force, and from which this one goes no further than it may; empty if none was.
	Against string `json:"against,omitempty"`
	// Capped are the thresholds that would have gone further from those of the baseline before than they may.
	Capped []Capped `json:"capped,omitempty"`
	// Newcomers are names that were seen too seldom since the baseline before to be known, and MoreNewcomers how many there are that
	// found no room.
	Newcomers     []Newcomer `json:"newcomers,omitempty"`
	MoreNewcomers int64      `json:"more_newcomers,omitempty"`
	// Accepted are names that were known at once, since somebody has said so: "support: tool mail/send".
	Accepted []string `json:"accepted,omitempty"`
	// Uncapped are the agents, and groups of them, for which the baseline before had nothing to compare with.
	Uncapped []string `json:"uncapped,omitempty"`

	digest  string
	agents  map[string]*Agent
	follows bool
}

// The errors of Parse.
var (
	ErrFile    = errors.New("baseline: this is no baseline")
	ErrVersion = errors.New("baseline: it was written by another version of umpire")
	ErrEdited  = errors.New("baseline: it was changed after it was written")
)

// file is a baseline on disk: the digest is that of the bytes of Baseline.
type file struct {
	Version  int             `json:"umpire_baseline"`
	Digest   string          `json:"digest"`
	Baseline json.RawMessage `json:"baseline"`
}

// Encode writes b down, in one line.
func (b *Baseline) Encode() ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	text := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	out := fmt.Appendf(nil, `{"umpire_baseline":%d,"digest":%q,"baseline":`, Version, digestOf(text))
	out = append(append(out, text...), "}\n"...)
	if len(out) > MaxSize {
		return nil, fmt.Errorf("baseline: it would have %d bytes, and %d are the most: learn from a shorter time, or of one agent", len(out), MaxSize)
	}
	return out, nil
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Parse reads what Encode has written, if it still is what was written.
func Parse(data []byte) (*Baseline, error) {
	var f file
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrFile, len(data))
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	switch {
	case f.Version == 0 || len(f.Baseline) == 0:
		return nil, ErrFile
	case f.Version != Version:
		return nil, fmt.Errorf("%w: version %d, this one reads %d: learn again", ErrVersion, f.Version, Version)
	case f.Digest != digestOf(f.Baseline):
		return nil, fmt.Errorf("%w: its digest is %.12s, and it says %.12s", ErrEdited, digestOf(f.Baseline), f.Digest)
	}
	b := &Baseline{digest: f.Digest}
	dec := json.NewDecoder(bytes.NewReader(f.Baseline))
	dec.DisallowUnknownFields()
	if err := dec.Decode(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if err := b.whole(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	b.finish()
	return b, nil
}

// Digest names b: hex SHA-256 of what Encode writes of it; empty for one that was never read.
func (b *Baseline) Digest() string { return b.digest }

// Agent returns what is known of an agent; nil if it is not known.
func (b *Baseline) Agent(name string) *Agent { return b.agents[name] }

// finish finds out what is not stored.
func (b *Baseline) finish() {
	b.agents = make(map[string]*Agent, len(b.Agents))
	for _, a := range b.Agents {
		b.agents[a.Name] = a
	}
	for _, a := range slices.Concat(b.Agents, b.Groups) {
		a.finish()
		if a.Score != nil {
			a.Score.prepare()
		}
		a.missing = b.Enough.lack(a)
	}
	b.follows = b.Follows()
}

// Of returns what the calls of an agent are compared with: what is known of it or, where that is too little, of agents like
// it. Why says why it is not the former.
func (b *Baseline) Of(agent, server string) (a *Agent, why string) {
	if a = b.agents[agent]; a != nil && a.Missing() == "" {
		return a, ""
	}
	why = fmt.Sprintf("the baseline does not know agent %q", agent)
	if a != nil {
		why = fmt.Sprintf("too little is known of agent %q: %s", agent, a.Missing())
	}
	for _, g := range b.Groups {
		_, known := g.Servers.Seen[server]
		if (known || slices.Contains(g.Members, agent)) && g.Missing() == "" {
			return g, why
		}
	}
	return nil, why + "; nor is there a group of agents like it"
}

// Missing says what is missing until calls can be compared with a; empty if nothing is.
func (a *Agent) Missing() string { return a.missing }

// lack returns what is missing in a.
func (e Evidence) lack(a *Agent) string {
	var out []string
	has := a.Evidence()
	for _, x := range [...]struct {
		has, want int64
		what      string
	}{{has.Sessions, e.Sessions, "sessions"}, {has.Calls, e.Calls, "calls"}, {has.Days, e.Days, "days"}} {
		if x.has < x.want {
			out = append(out, fmt.Sprintf("%d of %d %s", x.has, x.want, x.what))
		}
	}
	if len(out) == 0 && (a.Score == nil || a.Score.Calls < e.Calls) {
		return fmt.Sprintf("it was found out of too few calls how strange honest ones are (%d)", a.calibrated())
	}
	return strings.Join(out, ", ")
}

func (a *Agent) calibrated() int64 {
	if a.Score == nil {
		return 0
	}
	return a.Score.Calls
}
