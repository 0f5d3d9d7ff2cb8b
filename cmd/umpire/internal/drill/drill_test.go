package drill_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/drill"
	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

const shop = `{"tools": [
	{"x-server": "billing", "name": "get_order", "annotations": {"readOnlyHint": true}, "inputSchema": {"type": "object", "properties": {"order_id": {"type": "string", "description": "such as ord_1001"}}, "required": ["order_id"]}},
	{"x-server": "billing", "name": "issue_refund", "inputSchema": {"type": "object", "properties": {"order_id": {"type": "string"}, "customer_id": {"type": "string"}, "amount": {"type": "number"}, "reason": {"type": "string"}}, "required": ["order_id", "customer_id", "amount"]}},
	{"x-server": "files", "name": "read_file", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}},
	{"x-server": "mail", "name": "send_mail", "inputSchema": {"type": "object", "properties": {"to": {"type": "string", "format": "email"}, "text": {"type": "string"}}, "required": ["to", "text"]}}
]}`

// The same with names that have to be quoted everywhere, and arguments that are hard to make up.
const odd = `{"tools": [
	{"x-server": "my bank", "name": "look-up account", "annotations": {"readOnlyHint": true}, "inputSchema": {"type": "object", "properties": {"account-id": {"type": "integer", "minimum": 7}, "at": {"type": "string", "format": "date-time"}}, "required": ["account-id", "at"]}},
	{"x-server": "my bank", "name": "pay=now", "inputSchema": {"type": "object", "properties": {"account-id": {"type": "integer"}, "sum": {"type": "number", "maximum": 3}, "why": {"enum": ["gift", "debt"]}, "to": {"type": "object", "properties": {"iban": {"type": "string", "pattern": "^[A-Z]{2}\\d{20}$"}}, "required": ["iban"]}}, "required": ["account-id", "sum", "why", "to"]}},
	{"x-server": "my \"files\"", "name": "cat read", "inputSchema": {"type": "object", "properties": {"file-path": {"type": "string"}}}},
	{"x-server": "chat", "name": "post.message", "inputSchema": {"type": "object", "properties": {"message-text": {"type": ["string", "null"]}, "channel": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2}}, "required": ["channel", "tags"]}}
]}`

func catalogs(t *testing.T, text string) []event.Catalog {
	t.Helper()
	lists, err := corpus.Catalogs([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return lists
}

func compile(t *testing.T, texts ...string) *rules.Policy {
	t.Helper()
	var sources []event.Source
	for i, text := range texts {
		sources = append(sources, event.Source{Name: fmt.Sprintf("%d.yaml", i), Text: text})
	}
	p, err := rules.Compile(sources, event.Env{OS: "linux", Home: "/home/alice"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run plays a playbook, or all.
func run(t *testing.T, p *rules.Policy, tools string, only ...string) map[string]*drill.Report {
	t.Helper()
	clean, err := wire.NewCleaner(wire.CleanerConfig{Redact: wire.DefaultRedact, MaxValue: 64 << 10, Secret: []byte("-")})
	if err != nil {
		t.Fatal(err)
	}
	all, err := drill.Playbooks()
	if err != nil || len(all) < 11 {
		t.Fatal(len(all), err)
	}
	out := map[string]*drill.Report{}
	for _, b := range all {
		if len(only) > 0 && !slices.Contains(only, b.Name) {
			continue
		}
		r, err := drill.Run(b, p, catalogs(t, tools), corpus.Edge{Cleaner: clean})
		if err != nil {
			t.Fatalf("%s: %v", b.Name, err)
		}
		out[b.Name] = r
	}
	return out
}

// careless is a policy that stops nothing, not even what is stopped where no policy says anything.
const careless = `rules: [{name: seen, on: "*/*", catalog: [changed, hidden, twin, added], do: log}]`

// Every attack gets through a policy that stops nothing; and the rule that is then proposed compiles without a warning, and
// stops it.
func TestWhatIsNotStoppedIsStoppedByTheRuleThatIsProposed(t *testing.T) {
	for name, tools := range map[string]string{"shop": shop, "odd": odd} {
		for book, r := range run(t, compile(t, careless), tools) {
			t.Run(name+"/"+book, func(t *testing.T) {
				if r.Outcome != drill.Passed || r.Passed == 0 || r.Passed != r.Calls && book != "approval-reuse" || r.Add == "" || r.Hinder != "" {
					t.Fatalf("%+v", r)
				}
				for _, w := range compile(t, r.Add).Warnings(nil, 0) {
					t.Errorf("%s\n%s", w.Detail(), r.Add)
				}
				if again := run(t, compile(t, careless, r.Add), tools, book)[book]; again.Outcome != drill.Stopped || !strings.HasPrefix(again.Rule, "drill-") {
					t.Errorf("with the rule: %+v", again)
				}
			})
		}
	}
}

// All of the proposed rules together are one policy, under which nothing is left.
func TestAllProposedRulesGoTogether(t *testing.T) {
	texts := []string{careless}
	for _, r := range run(t, compile(t, careless), shop) {
		texts = append(texts, r.Add)
	}
	for book, r := range run(t, compile(t, texts...), shop) {
		if r.Outcome != drill.Stopped {
			t.Errorf("%s: %+v", book, r)
		}
	}
}

// Attacks are valid calls: a policy for refunds stops them for what they do, not for how they look.
func TestAttacksAreStoppedForWhatTheyDo(t *testing.T) {
	text, err := policies.Files.ReadFile("refunds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, compile(t, string(text)), shop)
	for book, want := range map[string]struct {
		rule  string
		after int
	}{
		"refund-burst":    {"refund-burst", 3},
		"race":            {"refund-once", 1},
		"skipped-look-up": {"refund-needs-lookup", 0},
		"tool-swap":       {"catalog", 0},
		"approval-reuse":  {"refund-once", 0},
	} {
		if r := got[book]; r.Outcome != drill.Stopped || r.Rule != want.rule || r.After != want.after {
			t.Errorf("%s: %+v", book, r)
		}
	}
	for _, book := range []string{"read-secret-then-send", "low-and-slow", "session-rotation"} {
		if r := got[book]; r.Outcome != drill.Passed || r.Add == "" {
			t.Errorf("%s: %+v", book, r)
		}
	}
	starter := run(t, compile(t, policies.Starter().Text), shop)
	if r := starter["injected-instruction"]; r.Outcome != drill.Stopped || !strings.HasPrefix(r.Rule, "injected-") {
		t.Errorf("%+v", r)
	}
}

// An attack that cannot go on is stopped, even if what it would have done after would pass.
func TestAnAttackEndsWhereItCannotGoOn(t *testing.T) {
	p := compile(t, `rules: [{name: no-keys, on: "files/*", where: "path(args.path).name == '.env'", do: deny}]`)
	if r := run(t, p, shop, "read-secret-then-send")["read-secret-then-send"]; r.Outcome != drill.Stopped || r.Rule != "no-keys" || r.Calls != 0 {
		t.Errorf("%+v", r)
	}
}

func TestWhereNoToolFitsAPlaybookIsNotApplicable(t *testing.T) {
	read := `{"tools": [{"x-server": "wiki", "name": "read_page", "inputSchema": {"type": "object", "properties": {"title": {"type": "string"}}}}]}`
	got := run(t, compile(t, careless), read)
	for book, missing := range map[string]string{
		"refund-burst":          "no tool that moves money",
		"parameter-probing":     "no tool that reads and takes an id",
		"race":                  "no tool that moves money and takes an id",
		"read-secret-then-send": "no tool that reads and takes a path",
		"injected-instruction":  "no tool that sends something elsewhere and takes a receiver or a text",
	} {
		if r := got[book]; r.Outcome != drill.NotApplicable || r.Missing != missing || r.Add != "" {
			t.Errorf("%s: %+v", book, r)
		}
	}
	if r := got["tool-swap"]; r.Outcome != drill.Passed {
		t.Errorf("%+v", r)
	}
	// What the policy says about a tool counts more than its name.
	named := compile(t, `tools: [{match: "wiki/read_page", effects: [money]}, {match: "billing/*", effects: [read]}]`)
	if r := run(t, named, strings.Replace(shop, `{"tools": [`, `{"tools": [`+strings.TrimSuffix(strings.TrimPrefix(read, `{"tools": [`), `]}`)+",", 1), "refund-burst")["refund-burst"]; r.Tools["pay"] != "wiki/read_page" {
		t.Errorf("%+v", r)
	}
}

// By their names alone: who gets an invoice pays nothing, and who lists files reads none.
func TestToolsGetTheRolesThatTheirNamesSuggest(t *testing.T) {
	const names = `{"tools": [
		{"x-server": "a", "name": "get_invoice", "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}}}},
		{"x-server": "a", "name": "search_mails_by_email", "inputSchema": {"type": "object", "properties": {"query": {"type": "string"}}}},
		{"x-server": "b", "name": "list_files", "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}}},
		{"x-server": "b", "name": "read_file", "inputSchema": {"type": "object", "properties": {"paths": {"type": "array", "items": {"type": "string"}}}}},
		{"x-server": "c", "name": "send_money", "inputSchema": {"type": "object", "properties": {"subject": {"type": "string"}, "recipient": {"type": "string"}}}},
		{"x-server": "c", "name": "send_email", "inputSchema": {"type": "object", "properties": {"recipients": {"type": "array", "items": {"type": "string"}}, "body": {"type": "string"}}}}
	]}`
	got := run(t, compile(t, careless), names)
	for book, want := range map[string]map[string]string{
		"refund-burst":          {"pay": "c/send_money"},
		"read-secret-then-send": {"secret": "b/read_file", "send": "c/send_email"},
		"injected-instruction":  {"send": "c/send_email"},
		"parameter-probing":     {"look": "a/get_invoice"},
	} {
		for role, tool := range want {
			if r := got[book]; r.Tools[role] != tool || r.Outcome != drill.Passed || r.Hinder != "" {
				t.Errorf("%s: %s is to be %s: %+v", book, role, tool, r)
			}
		}
	}
}

// A policy that only observes stops nothing, whatever is added to it: that is said.
func TestARuleThatOnlyObservesIsNamed(t *testing.T) {
	r := run(t, compile(t, "mode: observe\nrules: [{name: few, on: billing/issue_refund, rate: {max: 3, per: 10s}, do: deny}]"), shop, "refund-burst")["refund-burst"]
	if r.Outcome != drill.Passed || r.Observed != "few" || !strings.Contains(r.Hinder, "mode: observe") {
		t.Errorf("%+v", r)
	}
	r = run(t, compile(t, "rules: [{name: drill-refund-burst, on: a/b, do: deny}]"), shop, "refund-burst")["refund-burst"]
	if !strings.Contains(r.Hinder, `a second rule named "drill-refund-burst"`) {
		t.Errorf("%+v", r)
	}
}
