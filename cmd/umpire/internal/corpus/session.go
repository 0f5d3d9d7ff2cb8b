// Package corpus judges labelled sessions: it turns each into events, lets the rules decide on every call, and counts what
// was stopped and who was hurt.
//
// What a decision may see and what only the count may see are read into different types: Session has no label, and Judge
// takes nothing else.
package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// Session is what happened, in order. It is what a firewall would have seen.
type Session struct {
	Events []Event `json:"events"`
}

// Event is a piece of the conversation, a list of tools, a call or a result.
type Event struct {
	Type   string          `json:"type"` // "system", "user", "assistant", "tools", "call" or "result"
	Text   string          `json:"text"`
	Tools  json.RawMessage `json:"tools"`
	ID     string          `json:"id"` // ties a result to its call
	Server string          `json:"server"`
	Tool   string          `json:"tool"`
	Args   json.RawMessage `json:"args"`
	Error  bool            `json:"is_error"`
}

// Labels are what people know of a session afterwards, and what it is filed under.
type Labels struct {
	ID        string `json:"id"`
	Source    string `json:"source"`
	Suite     string `json:"suite"`
	Label     string `json:"label"` // "benign" or "attack"
	Injected  bool   `json:"injected"`
	Direct    bool   `json:"direct_request"`
	Succeeded *bool  `json:"attack_succeeded"`
	Goal      string `json:"attack_goal"`
	Task      string `json:"injection_task"`
	Style     string `json:"attack_style"`
	UserTask  string `json:"user_task"`
	Events    []struct {
		Type      string `json:"type"`
		Malicious *bool  `json:"malicious"`
	} `json:"events"`
}

// Parse reads a line of a corpus.
func Parse(line []byte) (s Session, l Labels, err error) {
	if err = json.Unmarshal(line, &s); err == nil {
		err = json.Unmarshal(line, &l)
	}
	if err == nil && (l.Label != "benign" && l.Label != "attack" || l.Source == "") {
		err = fmt.Errorf("want source, and label benign or attack; it has %q and %q", l.Source, l.Label)
	}
	return s, l, err
}

// Decision is what the rules made of a call.
type Decision struct {
	Event   int // its number among the events of the session
	Seq     uint64
	Verdict event.Verdict
}

// begin is when sessions begin that have no times. Any moment will do.
var begin = event.At(time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC))

// pause is the time between two events of a session.
const pause = time.Second

// Judge lets a session happen under a policy and returns what it decides on each call. A call that it would stop happens
// nevertheless, as it did: each is judged by the history that happened. Tools are answers to tools/list, that of a server
// given before its first call; the cleaner takes out what the history of a live firewall would not hold, and of what is said it
// has what keep says.
func Judge(p *rules.Policy, s Session, tools []event.Catalog, clean *wire.Cleaner, keep conversation.Keep) ([]Decision, error) {
	j := judging{state: rules.NewState(p), policy: p.Digest(), at: begin}
	listed := map[string]bool{}
	calls := map[string]called{}
	var out []Decision
	for i, x := range s.Events {
		j.at = j.at.Add(pause)
		switch x.Type {
		case "system", "user", "assistant":
			turn := &event.Turn{Role: event.Role(x.Type), Source: "import", Trust: event.Trusted, Peer: peer}
			keep.Write(turn, clean, x.Text)
			j.apply(0, turn)
		case "tools":
			list, err := catalogs(x.Tools, "mcp")
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", i, err)
			}
			for i := range list {
				j.list(&list[i])
			}
		case "call":
			if args := gjson.ParseBytes(x.Args); !args.IsObject() {
				return nil, fmt.Errorf("event %d: args are no object", i)
			}
			if !listed[x.Server] {
				listed[x.Server] = true
				for i := range tools {
					if tools[i].Server == x.Server {
						j.list(&tools[i])
					}
				}
			}
			c := &event.Call{Link: "import", Server: x.Server, Tool: x.Tool, ID: json.RawMessage(`"` + fmt.Sprint(i) + `"`), Size: len(x.Args), Peer: peer}
			c.Args, c.Findings = clean.Clean("args", x.Args)
			e := j.event(0, c)
			v := j.state.Decide(e)
			out = append(out, Decision{Event: i, Seq: e.Seq, Verdict: v})
			j.state.Apply(e)
			j.apply(e.Seq, &event.Verdict{Action: event.Allow, Why: "it happened", Policy: j.policy})
			calls[x.ID] = called{e.Seq, c}
		case "result":
			c, ok := calls[x.ID]
			if !ok {
				return nil, fmt.Errorf("event %d: a result of %q, which was not called", i, x.ID)
			}
			content, err := json.Marshal(map[string]any{"content": []any{map[string]string{"type": "text", "text": x.Text}}, "isError": x.Error})
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", i, err)
			}
			r := &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeOK, Size: len(content)}
			if x.Error {
				r.Outcome = event.OutcomeFailed
			}
			r.Content, r.Findings = clean.Clean("result", content)
			j.apply(c.seq, r)
		default:
			return nil, fmt.Errorf("event %d: %q is no type of event", i, x.Type)
		}
	}
	return out, nil
}

type called struct {
	seq uint64
	*event.Call
}

var peer = event.Peer{Principal: "local:import", Agent: "import"}

// judging is a session on its way.
type judging struct {
	state  *rules.State
	policy string
	seq    uint64
	at     event.Time
}

func (j *judging) event(cause uint64, body event.Body) event.Event {
	j.seq++
	return event.Event{V: event.Version, Seq: j.seq, At: j.at, Session: "s1", Cause: cause, Body: body}
}

func (j *judging) apply(cause uint64, body event.Body) { j.state.Apply(j.event(cause, body)) }

func (j *judging) list(c *event.Catalog) {
	if news := j.state.Catalog().News(c); len(news.Tools) > 0 || news.Complete {
		j.apply(0, news)
	}
}

// Catalogs reads the answer to a tools/list; x-server of a tool names its server.
func Catalogs(text []byte) ([]event.Catalog, error) {
	if !gjson.ValidBytes(text) {
		return nil, fmt.Errorf("no JSON")
	}
	return catalogs([]byte(gjson.GetBytes(text, "tools").Raw), "mcp")
}

func catalogs(list []byte, server string) ([]event.Catalog, error) {
	byServer := map[string][][]byte{}
	var order []string
	gjson.ParseBytes(list).ForEach(func(_, tool gjson.Result) bool {
		name := server
		if s := tool.Get("x-server").Str; s != "" {
			name = s
		}
		if byServer[name] == nil {
			order = append(order, name)
		}
		byServer[name] = append(byServer[name], []byte(tool.Raw))
		return true
	})
	var out []event.Catalog
	for _, name := range order {
		answer := append(append([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[`), bytes.Join(byServer[name], []byte(","))...), "]}}"...)
		var line bytes.Buffer
		if err := json.Compact(&line, answer); err != nil {
			return nil, fmt.Errorf("tools of %s: %w", name, err)
		}
		f, err := wire.Parse(line.Bytes(), wire.FromServer)
		if err != nil {
			return nil, fmt.Errorf("tools of %s: %w", name, err)
		}
		tools, last := wire.Tools(&f.Messages[0])
		out = append(out, event.Catalog{Server: name, Tools: tools, Complete: last})
	}
	return out, nil
}

// Edge is what messages go through before they are judged, for those that nobody has sent.
type Edge struct{ *wire.Cleaner }

// Tools reads a JSON array of tools as the answer to a tools/list is read.
func (Edge) Tools(list []byte) (out []event.Tool, err error) {
	lists, err := catalogs(list, "mcp")
	for _, l := range lists {
		out = append(out, l.Tools...)
	}
	return out, err
}
