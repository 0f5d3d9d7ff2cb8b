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

// Pause is the time between two events of a session.
const Pause = time.Second

// Judge lets a session happen under a policy and returns what it decides on each call. A call that it would stop happens
// nevertheless, as it did: each is judged by the history that happened. The others are those of Play.
func Judge(p *rules.Policy, s Session, tools []event.Catalog, clean *wire.Cleaner, keep conversation.Keep) ([]Decision, error) {
	state, at, seq := rules.NewState(p), begin, uint64(0)
	apply := func(cause uint64, body event.Body) event.Event {
		seq++
		e := event.Event{V: event.Version, Seq: seq, At: at, Session: "s1", Cause: cause, Body: body}
		if _, asks := body.(*event.Call); !asks {
			state.Apply(e)
		}
		return e
	}
	var out []Decision
	err := Play(s, tools, clean, keep, func(i int, cause uint64, body event.Body) (uint64, error) {
		at = begin.Add(time.Duration(i+1) * Pause)
		if list, ok := body.(*event.Catalog); ok {
			news := state.Catalog().News(list)
			if len(news.Tools) == 0 && !news.Complete {
				return 0, nil
			}
			body = news
		}
		e := apply(cause, body)
		if _, asks := body.(*event.Call); asks {
			out = append(out, Decision{Event: i, Seq: e.Seq, Verdict: state.Decide(e)})
			state.Apply(e)
			apply(e.Seq, &event.Verdict{Action: event.Allow, Why: "it happened", Policy: p.Digest()})
		}
		return e.Seq, nil
	})
	return out, err
}

// Play makes events of a session, in order: turns, catalogs, calls and results. Each gets them with the number of the event of
// the session, and returns their Seq. Tools are answers to tools/list, that of a server given before its first call; the
// cleaner takes out what the history of a live firewall would not hold, and of what is said it has what keep says.
func Play(s Session, tools []event.Catalog, clean *wire.Cleaner, keep conversation.Keep, each func(i int, cause uint64, body event.Body) (uint64, error)) error {
	listed := map[string]bool{}
	calls := map[string]called{}
	for i, x := range s.Events {
		do := func(cause uint64, body event.Body) (uint64, error) {
			seq, err := each(i, cause, body)
			if err != nil {
				return 0, fmt.Errorf("event %d: %w", i, err)
			}
			return seq, nil
		}
		var err error
		switch x.Type {
		case "system", "user", "assistant":
			turn := &event.Turn{Role: event.Role(x.Type), Source: "import", Trust: event.Trusted, Peer: Peer}
			keep.Write(turn, clean, x.Text)
			_, err = do(0, turn)
		case "tools":
			list, wrong := catalogs(x.Tools, "mcp")
			if wrong != nil {
				return fmt.Errorf("event %d: %w", i, wrong)
			}
			for k := range list {
				if _, err = do(0, &list[k]); err != nil {
					break
				}
			}
		case "call":
			if args := gjson.ParseBytes(x.Args); !args.IsObject() {
				return fmt.Errorf("event %d: args are no object", i)
			}
			for k := range tools {
				if tools[k].Server == x.Server && !listed[x.Server] {
					if _, err := do(0, &tools[k]); err != nil {
						return err
					}
				}
			}
			listed[x.Server] = true
			c := &event.Call{Link: "import", Server: x.Server, Tool: x.Tool, ID: json.RawMessage(`"` + fmt.Sprint(i) + `"`), Size: len(x.Args), Peer: Peer}
			c.Args, c.Findings = clean.Clean("args", x.Args)
			var seq uint64
			seq, err = do(0, c)
			calls[x.ID] = called{seq, c}
		case "result":
			c, ok := calls[x.ID]
			if !ok {
				return fmt.Errorf("event %d: a result of %q, which was not called", i, x.ID)
			}
			content, wrong := json.Marshal(map[string]any{"content": []any{map[string]string{"type": "text", "text": x.Text}}, "isError": x.Error})
			if wrong != nil {
				return fmt.Errorf("event %d: %w", i, wrong)
			}
			r := &event.Result{Server: c.Server, Tool: c.Tool, Outcome: event.OutcomeOK, Size: len(content)}
			if x.Error {
				r.Outcome = event.OutcomeFailed
			}
			r.Content, r.Findings = clean.Clean("result", content)
			_, err = do(c.seq, r)
		default:
			return fmt.Errorf("event %d: %q is no type of event", i, x.Type)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type called struct {
	seq uint64
	*event.Call
}

// Peer is who calls in every session.
var Peer = event.Peer{Principal: "local:import", Agent: "import"}

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
