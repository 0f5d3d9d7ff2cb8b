// Package drill plays attacks against a policy as a table-top exercise: playbooks, the tools that servers list in their
// roles, the engine that judges live traffic, and no server.
//
// A playbook is data: playbooks/NAME.txtar holds its title and what it is about; playbook.yaml, the roles and how many of its
// calls may pass before harm is done; story, a transcript in which a call that should be stopped has stopped below it, and
// one without which the attack does not go on has passes; and rule.yaml, the rule that stops it. The last two are templates.
package drill

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

//go:embed playbooks/*.txtar
var files embed.FS

// Playbook is one attack.
type Playbook struct {
	Name  string
	Title string
	About string // what it is, in a sentence or two; it can have line ends
	harm  int    // so many of its calls may pass
	roles []named
	story *template.Template
	rule  *template.Template
}

// named is a role and its name. Roles are cast in their order.
type named struct {
	name string
	role
}

// Outcome is what came of an attack.
type Outcome string

// The outcomes.
const (
	Stopped       Outcome = "stopped"
	Passed        Outcome = "not stopped"
	NotApplicable Outcome = "not applicable"
)

// Report is what came of a playbook.
type Report struct {
	Playbook string            `json:"playbook"`
	Title    string            `json:"title"`
	Outcome  Outcome           `json:"outcome"`
	Missing  string            `json:"missing,omitempty"`  // why it is not applicable
	Tools    map[string]string `json:"tools,omitempty"`    // who plays which role
	Calls    int               `json:"calls,omitempty"`    // of the attack
	Passed   int               `json:"passed,omitempty"`   // of these
	After    int               `json:"after,omitempty"`    // so many had passed before the first one was stopped
	Action   string            `json:"action,omitempty"`   // what was done with that one, …
	Rule     string            `json:"rule,omitempty"`     // … by which rule, …
	Why      string            `json:"why,omitempty"`      // … and why
	Observed string            `json:"observed,omitempty"` // a rule that would have stopped it, but only observes
	Add      string            `json:"add,omitempty"`      // a policy with the rule that stops it
	Hinder   string            `json:"hinder,omitempty"`   // why even that rule does not
}

// Playbooks returns all of them, by name.
func Playbooks() (out []*Playbook, err error) {
	names, err := fs.Glob(files, "playbooks/*.txtar")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := parse(strings.TrimSuffix(path.Base(name), ".txtar"), text)
		if err != nil {
			return nil, fmt.Errorf("playbook %s: %w", name, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func parse(name string, text []byte) (*Playbook, error) {
	a := txtar.Parse(text)
	p := &Playbook{Name: name}
	p.Title, p.About, _ = strings.Cut(strings.TrimSpace(string(a.Comment)), "\n")
	for _, f := range a.Files {
		var err error
		switch f.Name {
		case "playbook.yaml":
			err = p.head(f.Data)
		case "story":
			p.story, err = template.New(f.Name).Funcs(functions).Parse(string(f.Data))
		case "rule.yaml":
			p.rule, err = template.New(f.Name).Funcs(functions).Parse(string(f.Data))
		default:
			err = fmt.Errorf("what is %s?", f.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.Title == "" || len(p.roles) == 0 || p.story == nil || p.rule == nil {
		return nil, errors.New("want a title, playbook.yaml with roles, story and rule.yaml")
	}
	return p, nil
}

func (b *Playbook) head(text []byte) error {
	var head struct {
		Harm  int           `yaml:"harm"`
		Roles yaml.MapSlice `yaml:"roles"`
	}
	var roles struct {
		Roles map[string]role `yaml:"roles"`
		Harm  int             `yaml:"harm"`
	}
	if err := errors.Join(yaml.Unmarshal(text, &head), yaml.UnmarshalWithOptions(text, &roles, yaml.Strict())); err != nil {
		return err
	}
	b.harm = head.Harm
	for _, item := range head.Roles {
		name, _ := item.Key.(string)
		r := roles.Roles[name]
		if does[r.Does] == "" {
			return fmt.Errorf("role %s does %q", name, r.Does)
		}
		for _, n := range r.Needs {
			if slices.ContainsFunc(strings.Split(n, "|"), func(slot string) bool { return needs[slot] == "" }) {
				return fmt.Errorf("role %s needs %q", name, n)
			}
		}
		b.roles = append(b.roles, named{name, r})
	}
	return nil
}

// functions are what stories and rules can use.
var functions = template.FuncMap{
	"args": args,
	"ms":   func(n int) string { return (time.Duration(n) * time.Millisecond).String() },
	"mul":  func(a, b int) int { return a * b },
	"add":  func(a, b int) int { return a + b },
	"seq": func(n int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = i
		}
		return out
	},
}

// cast gives tools their roles; missing says which role nobody can play.
func (b *Playbook) cast(all []*tool) (found map[string]*cast, missing string) {
	found = map[string]*cast{}
	var taken []*tool
	for _, r := range b.roles {
		beside := found[r.Beside]
		if r.Beside != "" && beside == nil && r.Optional {
			found[r.name] = nil
			continue
		}
		var best *cast
		sure := 0
		for _, t := range all {
			c, n := t.plays(r.role, beside)
			if c == nil || n <= sure || slices.Contains(taken, t) {
				continue
			}
			best, sure = c, n
		}
		if best == nil && !r.Optional {
			return nil, r.wanted(beside)
		}
		if found[r.name] = best; best != nil {
			taken = append(taken, best.tool)
		}
		if best != nil && beside != nil {
			best.share(beside)
		}
	}
	return found, ""
}

// Run plays a playbook against a policy and the tools that servers list. Edge is what live
// traffic goes through before it is judged.
func Run(b *Playbook, p *rules.Policy, lists []event.Catalog, edge transcript.Edge) (*Report, error) {
	r := &Report{Playbook: b.Name, Title: b.Title}
	found, missing := b.cast(tools(p, lists))
	if missing != "" {
		r.Outcome, r.Missing = NotApplicable, missing
		return r, nil
	}
	r.Tools = map[string]string{}
	for name, c := range found {
		if c != nil {
			r.Tools[name] = c.name()
		}
	}
	story, err := render(b.story, found)
	if err != nil {
		return nil, err
	}
	judged, err := play(b.Name, story, p, lists, edge)
	if err != nil {
		return nil, err
	}
	if b.count(r, judged); r.Outcome == Stopped {
		return r, nil
	}
	if r.Add, err = render(b.rule, found); err != nil {
		return nil, err
	}
	return r, b.prove(r, story, p, lists, edge)
}

func render(t *template.Template, found map[string]*cast) (string, error) {
	var out strings.Builder
	err := t.Execute(&out, found)
	return out.String(), err
}

// play lets a story happen after servers have listed their tools.
func play(name, story string, p *rules.Policy, lists []event.Catalog, edge transcript.Edge) ([]transcript.Judged, error) {
	player := transcript.NewPlayer(rules.NewState(p), edge)
	for _, list := range lists {
		if _, err := player.Play(transcript.Line{Event: event.Event{Session: "s1", Body: &list}}); err != nil {
			return nil, err
		}
	}
	a, err := transcript.Parse(name, []byte("-- story --\n"+story))
	if err != nil {
		return nil, err
	}
	result, err := a.Cases[0].Play(player)
	return result.Judged, err
}

// count counts what was stopped. An attack ends where a call that it cannot go on without is stopped.
func (b *Playbook) count(r *Report, judged []transcript.Judged) {
	stops := 0
	for _, j := range judged {
		if j.Want != transcript.Stopped && j.Want != transcript.Passes {
			continue
		}
		attack := j.Want == transcript.Stopped
		passes := j.Verdict.Action.Passes()
		if attack {
			r.Calls++
		}
		switch {
		case passes && attack:
			r.Passed++
			for _, m := range j.Verdict.Also {
				if m.Observed && !m.Action.Passes() && r.Observed == "" {
					r.Observed = m.Rule
				}
			}
			continue
		case passes:
			continue
		}
		if stops++; stops == 1 {
			r.After, r.Action, r.Rule, r.Why = r.Passed, j.Verdict.Action.String(), j.Verdict.Rule, j.Verdict.Why
		}
		if !attack {
			break
		}
	}
	r.Outcome = Passed
	if stops > 0 && r.Passed <= b.harm {
		r.Outcome = Stopped
	}
}

// prove plays the story once more with the rule that is to be added, and says so if even that does not stop it.
func (b *Playbook) prove(r *Report, story string, p *rules.Policy, lists []event.Catalog, edge transcript.Edge) error {
	loaded := p.Loaded()
	with, err := rules.Compile(append(slices.Clone(loaded.Sources), event.Source{Name: "drill.yaml", Text: r.Add}), loaded.Env)
	if err != nil {
		r.Hinder = fmt.Sprintf("it does not go together with the policy: %v", err)
		return nil
	}
	judged, err := play(b.Name, story, with, lists, edge)
	if err != nil {
		return err
	}
	again := Report{}
	if b.count(&again, judged); again.Outcome != Stopped {
		r.Hinder = "even so it is not stopped"
		if again.Observed != "" {
			r.Hinder += ": the policy only observes (mode: observe)"
		}
	}
	return nil
}
