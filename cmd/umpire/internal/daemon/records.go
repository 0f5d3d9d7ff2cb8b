package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// records is the part of the API that looks at the history, and decides about held calls and about tools. Commands use it over the socket,
// pages of the console over HTTP.
func (d *Daemon) records(mux *http.ServeMux) {
	give := func(pattern string, look func(q url.Values) (any, error)) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := look(r.URL.Query())
			if bad := (badRequest{}); errors.As(err, &bad) {
				http.Error(w, bad.Error(), http.StatusBadRequest)
				return
			}
			d.answer(w, out, err)
		})
	}
	give("/v1/status", func(url.Values) (any, error) { return d.Status(), nil })
	mux.HandleFunc("GET /v1/held", d.held)
	give("/v1/tools", func(url.Values) (any, error) { return d.db.Tools() })
	give("/v1/inventory", func(url.Values) (any, error) { return d.inventory() })
	give("/v1/agents", func(url.Values) (any, error) { return d.agents() })
	give("/v1/policy", func(url.Values) (any, error) { return d.policyInForce() })
	give("/v1/page", d.page)
	give("/v1/chart", d.chart)
	mux.HandleFunc("GET /v1/play", d.play)
	mux.HandleFunc("GET /v1/sessions", d.sessions)
	mux.HandleFunc("GET /v1/sessions/{id}", func(w http.ResponseWriter, r *http.Request) {
		s, found, err := d.db.Session(r.PathValue("id"))
		if err == nil && !found {
			http.Error(w, "there is no such session", http.StatusNotFound)
			return
		}
		d.answer(w, s, err)
	})
	mux.HandleFunc("GET /v1/calls/{seq}/result", d.ofCall(d.db.ResultOf))
	mux.HandleFunc("GET /v1/calls/{seq}/settled", d.ofCall(d.db.SettledBy))
	give("/v1/habits", d.allHabits)
	give("/v1/habits/agent", d.habitsOf)
	mux.HandleFunc("GET /v1/calls/{seq}/picture", d.picture)
	d.desk(mux)
	mux.HandleFunc("GET /v1/tools/definition", d.definition)
	mux.HandleFunc("POST /v1/tools/accepted", d.accept)
}

// badRequest is a question that makes no sense.
type badRequest struct{ text string }

// Error implements error.
func (b badRequest) Error() string { return b.text }

// number returns a number of a query, or fallback if it is not there.
func number(q url.Values, name string, fallback, low, high uint64) (uint64, error) {
	if !q.Has(name) {
		return fallback, nil
	}
	n, err := strconv.ParseUint(q.Get(name), 10, 64)
	if err != nil || n < low || n > high {
		return 0, badRequest{fmt.Sprintf("%s: want a number from %d to %d", name, low, high)}
	}
	return n, nil
}

// kinds are the sessions that can be asked for by what became of their calls.
var kinds = map[string]func(s store.Session) bool{
	"":       func(store.Session) bool { return true },
	"calls":  func(s store.Session) bool { return s.Calls+s.Seen > 0 },
	"denied": func(s store.Session) bool { return s.Denied > 0 },
	"held":   func(s store.Session) bool { return s.Held > 0 },
	"noted":  func(s store.Session) bool { return s.Logged > 0 },
	"failed": func(s store.Session) bool { return s.Failed > 0 },
}

// sessions answers with the sessions that are asked for, the most recently active first: of an agent or a server, by what
// became of their calls (with), and with q in one of their names. The header Umpire-Total says how many there are without
// skip and limit.
func (d *Daemon) sessions(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	skip, err := number(q, "skip", 0, 0, 1<<40)
	limit, err2 := number(q, "limit", 1<<40, 1, 1<<40)
	wanted := kinds[q.Get("with")]
	if err = errors.Join(err, err2); err == nil && wanted == nil {
		err = badRequest{"with: want calls, denied, held, noted or failed"}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	all, err := d.db.Sessions()
	text, agent, server := strings.ToLower(q.Get("q")), q.Get("agent"), q.Get("server")
	all = slices.DeleteFunc(all, func(s store.Session) bool {
		return !wanted(s) || agent != "" && s.Agent != agent || server != "" && !slices.Contains(s.Servers, server) ||
			text != "" && !slices.ContainsFunc(append([]string{s.ID, s.Agent, s.Principal, s.Workspace}, s.Servers...), func(name string) bool {
				return strings.Contains(strings.ToLower(name), text)
			})
	})
	w.Header().Set("Umpire-Total", strconv.Itoa(len(all)))
	all = all[min(skip, uint64(len(all))):]
	d.answer(w, all[:min(limit, uint64(len(all)))], err)
}

// agent is what is known of everybody who calls itself by one name.
type agent struct {
	Agent      string     `json:"agent"`
	Principals []string   `json:"principals"`
	Servers    []string   `json:"servers"`
	Sessions   int        `json:"sessions"`
	Calls      int        `json:"calls"`
	Denied     int        `json:"denied"`
	Held       int        `json:"held"`
	Failed     int        `json:"failed"`
	First      event.Time `json:"first"`
	Active     event.Time `json:"active"`
}

// maxAgents bounds the answer: agents choose their names.
const maxAgents = 500

// agents returns the agents that were active most recently.
func (d *Daemon) agents() (any, error) {
	sessions, err := d.db.Sessions()
	if err != nil {
		return nil, err
	}
	out, at := []agent{}, map[string]int{}
	for _, s := range sessions {
		i, known := at[s.Agent]
		if !known {
			if len(out) == maxAgents {
				continue
			}
			i = len(out)
			at[s.Agent], out = i, append(out, agent{Agent: s.Agent, First: s.Opened, Active: s.Active})
		}
		a := &out[i]
		a.Sessions++
		a.Calls += s.Calls
		a.Denied += s.Denied
		a.Held += s.Held
		a.Failed += s.Failed
		a.First = min(a.First, s.Opened)
		a.Principals = insert(a.Principals, s.Principal)
		for _, server := range s.Servers {
			a.Servers = insert(a.Servers, server)
		}
	}
	return out, nil
}

// insert adds a name to a sorted list.
func insert(list []string, name string) []string {
	i, found := slices.BinarySearch(list, name)
	if found {
		return list
	}
	return slices.Insert(list, i, name)
}

// described is a tool with what its server says about it.
type described struct {
	inventory.Tool
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
}

func (d *Daemon) inventory() (any, error) {
	inv, err := inventory.Read(d.db)
	if err != nil {
		return nil, err
	}
	texts := map[[2]string]*event.Tool{}
	for _, e := range inv.Catalog.All() {
		texts[[2]string{e.Server, e.Tool}] = e.Now
	}
	out := make([]described, len(inv.Tools))
	for i, t := range inv.Tools {
		out[i].Tool = t
		if text := texts[[2]string{t.Server, t.Tool}]; text != nil {
			out[i].Title, out[i].Description = text.Title, text.Description
		}
	}
	return out, nil
}

// policyInForce returns the policy, as it is written and as it is understood.
func (d *Daemon) policyInForce() (any, error) {
	p := d.gate.Policy()
	return struct {
		Digest  string         `json:"digest"`
		Sources []event.Source `json:"sources"`
		Rules   []rules.Rule   `json:"rules"`
	}{p.Digest(), p.Loaded().Sources, p.Rules()}, nil
}

// The bounds of a page.
const (
	maxPage      = 1000
	maxPageBytes = 4 << 20
	maxScan      = 100_000 // events that are looked at for one
	scanStep     = 2_000
)

// page is some events in a row, as they are stored, but that a baseline is left out of the one that brought it into force: it is a
// whole file, and nobody looks at it there.
type page struct {
	Events []json.RawMessage `json:"events"`
	// Next is where to go on: the from or the before of the next page; 0 if there is no more.
	Next uint64 `json:"next"`
}

// page returns the events from from on, or the last ones before before; of one session, and with q in their JSON, if that
// is asked for. A page can have fewer events than there is room for, and still not be the last one.
func (d *Daemon) page(q url.Values) (any, error) {
	limit, err := number(q, "limit", 200, 1, maxPage)
	from, err2 := number(q, "from", 0, 0, 1<<62)
	before, err3 := number(q, "before", 1<<62, 0, 1<<62)
	if err = errors.Join(err, err2, err3); err != nil {
		return nil, badRequest{err.Error()}
	}
	if q.Has("from") == q.Has("before") {
		return nil, badRequest{"want either from or before"}
	}
	s := scan{session: q.Get("session"), text: bytes.ToLower([]byte(q.Get("q"))), low: 1, high: d.db.Last() + 1}
	if s.session != "" {
		of, found, err := d.db.Session(s.session)
		if err != nil || !found {
			return page{Events: []json.RawMessage{}}, err
		}
		s.low, s.high = of.First, of.Last+1
	}
	if q.Has("from") {
		return s.forward(d.db, max(from, s.low), int(limit))
	}
	return s.backward(d.db, min(before, s.high), int(limit))
}

// scan looks for the events of a page.
type scan struct {
	session   string
	text      []byte // in small letters
	low, high uint64 // Seqs: the first, and behind the last
}

func (s *scan) wants(raw json.RawMessage) bool {
	return (s.session == "" || gjson.GetBytes(raw, "session").Str == s.session) &&
		(len(s.text) == 0 || bytes.Contains(bytes.ToLower(raw), s.text))
}

func (s *scan) forward(db *store.DB, from uint64, limit int) (p page, err error) {
	p.Events = []json.RawMessage{}
	n, size := 0, 0
	for raw, err := range db.Raw(from) {
		if err != nil {
			return p, err
		}
		seq := gjson.GetBytes(raw, "seq").Uint()
		if seq >= s.high {
			break
		}
		if n++; len(p.Events) == limit || size > maxPageBytes || n > maxScan {
			p.Next = seq
			break
		}
		if s.wants(raw) {
			if raw, err = withoutFile(raw); err != nil {
				return p, err
			}
			p.Events = append(p.Events, raw)
			size += len(raw)
		}
	}
	return p, nil
}

// withoutFile leaves a baseline out of an event.
func withoutFile(raw json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(raw, []byte(`"promoted":{`)) {
		return raw, nil
	}
	var e event.Event // or an argument of a call has such a name
	if err := e.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	b, ok := e.Body.(*event.Promoted)
	if !ok {
		return raw, nil
	}
	b.Baseline = json.RawMessage("null")
	return e.MarshalJSON()
}

func (s *scan) backward(db *store.DB, before uint64, limit int) (p page, err error) {
	p.Events = []json.RawMessage{}
	size := 0
	for high, n := before, 0; high > s.low; n += scanStep {
		low := max(s.low, high-min(high, scanStep))
		var found []json.RawMessage
		for raw, err := range db.Raw(low) {
			if err != nil {
				return p, err
			}
			if gjson.GetBytes(raw, "seq").Uint() >= high {
				break
			}
			if s.wants(raw) {
				if raw, err = withoutFile(raw); err != nil {
					return p, err
				}
				found = append(found, raw)
			}
		}
		for i, raw := range slices.Backward(found) {
			if len(p.Events) == limit || size > maxPageBytes {
				p.Next = gjson.GetBytes(found[i], "seq").Uint() + 1
				slices.Reverse(p.Events)
				return p, nil
			}
			p.Events = append(p.Events, raw)
			size += len(raw)
		}
		if high = low; n >= maxScan && high > s.low {
			p.Next = high
			break
		}
	}
	slices.Reverse(p.Events)
	return p, nil
}
