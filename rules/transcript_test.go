package rules_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

var update = flag.Bool("update", false, "write what happened into the transcripts")

var begin = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// TestTranscripts plays testdata/rules/*.txtar: a policy, and a transcript of what happens and what is decided.
//
//	0s call billing/issue_refund {"amount": 5}         session=s1 agent=bot principal=local:alice, unless said otherwise
//	  allow: no rule objects
//	2s result #1 failed
//	2s result #1 ok billing/get_order {"content": […]}
//	2s review #1 approve local:ann a note            or deny; it ends the hold of #1, as does
//	2s expired #1 nobody decided
//	3s catalog billing {"tools": […]}                  what is recorded of such a list; the pin is the text of the definition
//	3s accepted billing/issue_refund                   as it is described now
//	4s signal refused what was seen
//	5s turn user what was said                       untrusted user, if somebody else can have written it
//	5s turn untrusted tool from=resources/read of=files what was said over MCP      lost=true, if it is not recorded
//
// A line that is not indented is an event at that time; the indented lines below it are the verdict. A file named
// warnings, if there is one, holds what check warns of.
func TestTranscripts(t *testing.T) {
	transcripts(t, "rules", func(t *testing.T, sources []event.Source, text string) map[string]string {
		p, err := rules.Compile(sources, event.Env{OS: "linux", Home: "/home/alice"})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"transcript": play(t, p, text), "warnings": warnings(p)}
	})
}

// transcripts plays the archives of a folder of testdata: their policies and their transcript. What comes of it, by the
// name of a file, is what that file holds, where there is such a file.
func transcripts(t *testing.T, folder string, play func(t *testing.T, sources []event.Source, text string) map[string]string) {
	t.Helper()
	files, err := filepath.Glob("../testdata/" + folder + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources, text := split(t, a)
			same := true
			for name, got := range play(t, sources, text) {
				i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
				if i < 0 || got == string(a.Files[i].Data) {
					continue
				}
				if same = false; !*update {
					t.Errorf("%s is otherwise (-update writes it):\n%s", name, got)
				}
				a.Files[i].Data = []byte(got)
			}
			if same || !*update {
				return
			}
			if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// split takes the policies and the transcript, which is last, out of an archive.
func split(t *testing.T, a *txtar.Archive) (sources []event.Source, transcript string) {
	t.Helper()
	for _, f := range a.Files {
		switch f.Name {
		case "transcript":
			return sources, string(f.Data)
		case "warnings":
			continue
		}
		sources = append(sources, event.Source{Name: f.Name, Text: string(f.Data)})
	}
	t.Fatal("no transcript")
	return nil, ""
}

// warnings formats what check warns of, with hints.
func warnings(p *rules.Policy) string {
	var out strings.Builder
	for _, w := range p.Warnings(nil, 0) {
		fmt.Fprintf(&out, "%s:%d: %s\n", w.File, w.Line, w.Msg)
		if w.Hint != "" {
			fmt.Fprintf(&out, "  hint: %s\n", w.Hint)
		}
	}
	return out.String()
}

// play runs a transcript and returns it with what was decided. Beside the state that decides, it keeps one that only
// folds, as recovery does, and asks both: they have to agree.
func play(t *testing.T, p *rules.Policy, text string) string {
	t.Helper()
	var out strings.Builder
	live, folded := rules.NewState(p), rules.NewState(p)
	var seq uint64
	apply := func(e event.Event) {
		live.Apply(e)
		folded.Apply(e)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, " ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		seq++
		e := parseEvent(t, line)
		e.V, e.Seq = event.Version, seq
		call := e.Seq
		switch b := e.Body.(type) {
		case *event.Call:
			if b.Seen {
				apply(e)
				continue
			}
		case *event.Review, *event.Expired:
			call = e.Cause
		case *event.Accepted:
			a := e.Body.(*event.Accepted)
			a.Tools[0].Pin = live.Catalog().Find(a.Server, a.Tools[0].Name).Now.Pin
			apply(e)
			continue
		case *event.Catalog:
			if news := live.Catalog().News(e.Body.(*event.Catalog)); len(news.Tools) > 0 || news.Complete {
				e.Body = news
				apply(e)
				fmt.Fprintf(&out, "  %s\n", doubts(news))
			} else {
				seq--
				fmt.Fprintln(&out, "  no news")
			}
			continue
		default:
			apply(e)
			continue
		}
		v := live.Decide(e)
		if again := folded.Decide(e); !same(v, again) {
			t.Errorf("%s\nlive %+v\nfolded %+v", line, v, again)
		}
		printVerdict(&out, v)
		apply(e)
		seq++
		apply(event.Event{V: event.Version, Seq: seq, At: e.At, Session: e.Session, Cause: call, Body: &v})
	}
	return out.String()
}

// doubts formats what is recorded of a list.
func doubts(c *event.Catalog) string {
	var out []string
	for _, t := range c.Tools {
		text := t.Name
		for _, d := range t.Doubts {
			text += " " + strings.TrimSpace(d.Kind+" "+d.Text)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func same(a, b event.Verdict) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func printVerdict(out *strings.Builder, v event.Verdict) {
	name := v.Rule
	if name != "" {
		name = " " + name
	}
	fmt.Fprintf(out, "  %s%s: %s\n", v.Action, name, v.Why)
	if v.Hint != "" {
		fmt.Fprintf(out, "    allowed: %s\n", v.Hint)
	}
	if v.RetryMS != 0 {
		fmt.Fprintf(out, "    retry: %s\n", time.Duration(v.RetryMS)*time.Millisecond)
	}
	for _, m := range v.Also {
		word := "also " + m.Action.String()
		if m.Observed {
			word = "would " + m.Action.String()
		}
		fmt.Fprintf(out, "    %s %s: %s\n", word, m.Rule, m.Why)
	}
}

// parseEvent reads a line of a transcript.
func parseEvent(t *testing.T, line string) event.Event {
	t.Helper()
	fail := func(why any) { t.Helper(); t.Fatalf("%s: %v", line, why) }
	at, rest, _ := strings.Cut(line, " ")
	kind, rest, _ := strings.Cut(rest, " ")
	d, err := document.ParseDuration(at)
	if err != nil {
		fail(err)
	}
	e := event.Event{At: event.At(begin.Add(d)), Session: "s1"}
	switch kind {
	case "call":
		e.Body = parseCall(fail, rest, &e)
	case "result", "gave": // the second one of a call that was seen
		ref, outcome, _ := strings.Cut(rest, " ")
		outcome, over, _ := strings.Cut(outcome, " ")
		server, tool, _ := strings.Cut(over, "/")
		e.Cause = number(fail, ref)
		r := &event.Result{Server: server, Tool: tool, Outcome: event.Outcome(outcome), Seen: kind == "gave"}
		if tool, root, ok := strings.Cut(tool, " root="); ok {
			r.Tool, r.Root = tool, number(fail, root)
		}
		if tool, content, ok := strings.Cut(r.Tool, " "); ok {
			r.Tool, r.Content = tool, json.RawMessage(content)
		}
		e.Body = r
	case "review":
		words := append(strings.SplitN(rest, " ", 4), "")
		if len(words) < 4 || words[1] != "approve" && words[1] != "deny" {
			fail("want review #CALL approve|deny WHO [NOTE]")
		}
		e.Cause = number(fail, words[0])
		e.Body = &event.Review{Approve: words[1] == "approve", Who: words[2], Note: words[3]}
	case "expired":
		ref, reason, _ := strings.Cut(rest, " ")
		e.Cause = number(fail, ref)
		e.Body = &event.Expired{Reason: reason}
	case "catalog":
		server, list, _ := strings.Cut(rest, " ")
		c := &event.Catalog{Server: server}
		if err := json.Unmarshal([]byte(list), c); err != nil {
			fail(err)
		}
		for i, tool := range c.Tools {
			c.Tools[i].Pin = fmt.Sprintf("%s %s %s %s %s", tool.Name, tool.Title, tool.Description, tool.InputSchema, tool.More)
		}
		e.Body = c
	case "accepted":
		server, tool, _ := strings.Cut(rest, "/")
		e.Body = &event.Accepted{Who: "local:ann", Server: server, Tools: []event.Pin{{Name: tool}}}
	case "signal":
		name, text, _ := strings.Cut(rest, " ")
		e.Body = &event.Signal{Source: "wire", Name: name, Server: "files", Text: text}
	case "turn":
		role, text, _ := strings.Cut(rest, " ")
		b := &event.Turn{Source: "api", Trust: event.Trusted}
		if role == "untrusted" {
			b.Trust = event.Untrusted
			role, text, _ = strings.Cut(text, " ")
		}
		for {
			word, more, _ := strings.Cut(text, " ")
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				break
			}
			switch text = more; key {
			case "session":
				e.Session = value
			case "from":
				b.Source = event.MCP + ":" + value
			case "of":
				b.Server = value
			case "lost":
				b.Findings = []event.Finding{{Kind: event.Truncated, Path: "text"}}
			default:
				fail("unknown " + key)
			}
		}
		b.Role, b.Text, b.Size = event.Role(role), text, len(text)
		e.Body = b
	default:
		fail("want call, review, expired, result, catalog, accepted, signal or turn")
	}
	return e
}

func parseCall(fail func(any), rest string, e *event.Event) *event.Call {
	c := &event.Call{Peer: event.Peer{Principal: "local:alice", Agent: "bot", Client: event.Client{Name: "bot", Version: "1"}}}
	for {
		word, more, _ := strings.Cut(rest, " ")
		key, value, ok := strings.Cut(word, "=")
		if !ok || strings.ContainsAny(key, "/{") {
			break
		}
		rest = more
		switch key {
		case "session":
			e.Session = value
		case "agent":
			c.Agent = value
		case "principal":
			c.Principal = value
		case "workspace":
			c.Workspace = value
		case "retry":
			c.Retry = number(fail, value)
		case "bound":
			by, confidence, _ := strings.Cut(value, "/")
			c.Bound = &event.Bound{By: event.Binding(by), Confidence: event.Confidence(confidence)}
		case "seen":
			c.Seen = value == "true"
		case "missing":
			c.Bound.Missing = value == "true"
		case "intent":
			c.Intent = strings.ReplaceAll(value, "_", " ")
		case "redacted", "truncated":
			c.Findings = append(c.Findings, event.Finding{Kind: key, Path: value})
		default:
			fail("unknown " + key)
		}
	}
	name, args, _ := strings.Cut(rest, " ")
	c.Server, c.Tool, _ = strings.Cut(name, "/")
	if c.Args = json.RawMessage(args); args == "" {
		c.Args = json.RawMessage("{}")
	}
	if !json.Valid(c.Args) {
		fail("arguments are no JSON")
	}
	c.ID, c.Size = json.RawMessage("1"), len(c.Args)
	return c
}

func number(fail func(any), ref string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(ref, "#"), 10, 64)
	if err != nil {
		fail(err)
	}
	return n
}
