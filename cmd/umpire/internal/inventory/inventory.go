// Package inventory is what every agent can do: the tools of all servers, what a policy says about each, and who has used
// it. It is read from the history alone.
package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/catalog"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// Inventory is the tools that were listed or called.
type Inventory struct {
	Catalog *catalog.Catalog
	Loaded  *event.Loaded // the policy that came into force last
	Tools   []Tool        // by server and name
}

// Tool is one tool.
type Tool struct {
	Server  string        `json:"server"`
	Tool    string        `json:"tool"`
	Effects []Effect      `json:"effects"` // that rules go by
	Claims  []Effect      `json:"claims,omitempty"`
	Rules   []rules.Cover `json:"rules,omitempty"`
	Denied  bool          `json:"denied,omitempty"` // whatever it is called with
	Gap     bool          `json:"gap,omitempty"`    // it can do more than read, and no rule can stop it
	Listed  bool          `json:"listed"`           // its server has listed it
	Pin     string        `json:"pin,omitempty"`    // of the newest definition
	Doubts  []event.Doubt `json:"doubts,omitempty"` // that nobody has settled
	// Passages are texts of the newest definition that give orders to the assistant, or hide something.
	Passages []event.Passage `json:"passages,omitempty"`
	Calls    int             `json:"calls"`
	Refused  int             `json:"refused"`
	Held     int             `json:"held"`
	Used     *event.Time     `json:"used,omitempty"`
	Users    []store.User    `json:"users,omitempty"` // the newest first
}

// Effect is something that a tool can do, and who says so.
type Effect struct {
	Effect string `json:"effect"`
	From   string `json:"from"` // Policy, Assumed, Annotation or Name
}

// The sources of effects. Rules go by the policy; for tools that it does not name they assume the worst. What a server
// says about its own tools, and what their names suggest, is there for whoever writes the policy.
const (
	Policy     = "policy"
	Assumed    = "assumed"
	Annotation = "annotation"
	Name       = "name"
)

// errEmpty says that a history has no policy, which every daemon records first.
var errEmpty = errors.New("the history is empty")

// Read reads the inventory.
func Read(r history.Reader) (*Inventory, error) {
	inv := &Inventory{Catalog: catalog.New()}
	for e, err := range store.Decode(relevant(r.Raw(1))) {
		if err != nil {
			return nil, err
		}
		if l, ok := e.Body.(*event.Loaded); ok {
			inv.Loaded = l
		}
		inv.Catalog.Apply(e)
	}
	if inv.Loaded == nil {
		return nil, errEmpty
	}
	policy, err := rules.Compile(inv.Loaded.Sources, inv.Loaded.Env)
	if err != nil {
		return nil, err
	}
	used, err := r.Tools()
	if err != nil {
		return nil, err
	}
	tools := map[catalog.Key]*Tool{}
	for _, e := range inv.Catalog.All() {
		t := &Tool{Server: e.Server, Tool: e.Tool, Listed: true, Pin: e.Now.Pin, Claims: Claims(e.Now), Passages: e.Now.Passages}
		for _, d := range e.Doubts {
			t.Doubts = append(t.Doubts, d.Doubt)
		}
		tools[e.Key] = t
	}
	for _, u := range used {
		k := catalog.Key{Server: u.Server, Tool: u.Tool}
		t := tools[k]
		if t == nil {
			t = &Tool{Server: u.Server, Tool: u.Tool}
			tools[k] = t
		}
		t.Calls, t.Refused, t.Held, t.Used, t.Users = u.Calls, u.Denied, u.Held, &u.Used, u.Users
	}
	for _, t := range tools {
		t.judge(policy)
		inv.Tools = append(inv.Tools, *t)
	}
	slices.SortFunc(inv.Tools, func(a, b Tool) int {
		return cmp.Or(strings.Compare(a.Server, b.Server), strings.Compare(a.Tool, b.Tool))
	})
	return inv, nil
}

// relevant leaves out events that are neither about tools nor about policies, without decoding them.
func relevant(raw iter.Seq2[json.RawMessage, error]) iter.Seq2[json.RawMessage, error] {
	kinds := [][]byte{[]byte(`"catalog":{`), []byte(`"accepted":{`), []byte(`"loaded":{`)}
	return func(yield func(json.RawMessage, error) bool) {
		for text, err := range raw {
			about := err != nil || slices.ContainsFunc(kinds, func(kind []byte) bool { return bytes.Contains(text, kind) })
			if about && !yield(text, err) {
				return
			}
		}
	}
}

// judge adds what the policy says.
func (t *Tool) judge(p *rules.Policy) {
	about := p.About(t.Server, t.Tool)
	from := Assumed
	if about.Named {
		from = Policy
	}
	for _, e := range about.Effects {
		t.Effects = append(t.Effects, Effect{e, from})
	}
	t.Rules, t.Denied = about.Rules, about.Denied
	more := slices.ContainsFunc(about.Effects, func(e string) bool { return e != "read" })
	t.Gap = more && !t.Denied && !slices.ContainsFunc(t.Rules, rules.Cover.Stops)
}

// Find returns the tools that are asked for by server, or by server/tool, where what is invisible or looks like something
// else may be spelled \u0430; without names, all of them. Unknown names the first one that there is not.
func (inv *Inventory) Find(names []string) (found []Tool, unknown string) {
	if len(names) == 0 {
		return inv.Tools, ""
	}
	wanted := map[int]bool{}
	for _, name := range names {
		n := len(wanted)
		for i, t := range inv.Tools {
			if full := t.Server + "/" + t.Tool; name == t.Server || name == full || Spelled(name) == full {
				wanted[i] = true
			}
		}
		if len(wanted) == n && !slices.ContainsFunc(inv.Tools, func(t Tool) bool { return name == t.Server || Spelled(name) == t.Server+"/"+t.Tool }) {
			return nil, name
		}
	}
	for _, i := range slices.Sorted(maps.Keys(wanted)) {
		found = append(found, inv.Tools[i])
	}
	return found, ""
}
