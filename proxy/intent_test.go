package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

const (
	meant    = `{"umpire_intent":"The user wants ord_1 back.", "order_id":"ord_1"}`
	stripped = `{"order_id":"ord_1"}`
	orders   = `{"tools":[{"name":"get_order","inputSchema":{"type":"object","properties":{"order_id":{"type":"string"}},"additionalProperties":false}},{"name":"ping"}]}`
)

// Whatever stands in front of whatever: the server gets the call without the intent, byte for byte, and the call that is
// recorded and judged has it beside its arguments. So it is where no tool is asked for intents any more, too.
func TestTheIntentIsRecordedAndNeverForwarded(t *testing.T) {
	strict := `rules: [{name: undeclared, on: "*/*", shape: declared, do: deny}]`
	check := func(t *testing.T, calls []*event.Call, n int) {
		t.Helper()
		if len(calls) != n {
			t.Fatalf("%d calls", len(calls))
		}
		for _, c := range calls {
			if c.Intent != "The user wants ord_1 back." || string(c.Args) != stripped || c.Size != len(stripped) {
				t.Errorf("intent %q, arguments %s of %d bytes", c.Intent, c.Args, c.Size)
			}
		}
	}
	callsOf := func(f *front) (out []*event.Call) {
		for _, e := range f.log() {
			if c, ok := e.Body.(*event.Call); ok {
				out = append(out, c)
			}
		}
		return out
	}
	for _, intent := range []string{"", wire.Intent, "umpire_intent_why"} {
		t.Run("frames "+intent, func(t *testing.T) {
			x := begin(t, strict)
			x = join(t, x.disk, x.gate, support, func(cfg *proxy.LinkConfig) { cfg.Intent = intent })
			x.pass(listTools)
			x.say(x.server, result("1", orders))
			list := x.hear(x.client)
			if got := gjson.Get(list, "result.tools.0.inputSchema.properties."+wire.Intent).Exists(); got != (intent == wire.Intent) {
				t.Errorf("the client is told %s", list)
			}
			x.say(x.client, toolCall("1", "get_order", meant))
			x.hears(x.server, toolCall("1", "get_order", stripped))
			check(t, logged[*event.Call](x), 1)
			if pins := logged[*event.Catalog](x); len(pins) != 1 || strings.Contains(string(pins[0].Tools[0].InputSchema), wire.Intent) {
				t.Errorf("%+v", pins)
			}
		})
		t.Run("HTTP "+intent, func(t *testing.T) {
			f := stand(t, noRules, obey, func(cfg *proxy.HTTPConfig) { cfg.Intent = intent })
			f.post(call("1", "get_order", meant))
			f.post(modern("2", "tools/call", `"name":"get_order","arguments":`+meant), "Mcp-Method: tools/call", "Mcp-Name: get_order", "Mcp-Protocol-Version: 2026-07-28")
			f.post(" [" + call("3", "get_order", meant) + " , " + call("4", "get_order", stripped) + "] ")
			var bodies []string
			for _, r := range f.requests() {
				bodies = append(bodies, r.body)
			}
			want := []string{
				call("1", "get_order", stripped),
				modern("2", "tools/call", `"name":"get_order","arguments":`+stripped),
				"[" + call("3", "get_order", stripped) + "," + call("4", "get_order", stripped) + "]",
			}
			if fmt.Sprint(bodies) != fmt.Sprint(want) {
				t.Errorf("forwarded\n%s\nwant\n%s", bodies, want)
			}
			check(t, callsOf(f)[:3], 3)
		})
		t.Run("relay "+intent, func(t *testing.T) {
			s := relayed(t, noRules, func(cfg *proxy.RelayConfig) { cfg.Intent = intent })
			got := make(chan string, 8)
			go func() {
				server := <-s.servers
				for {
					data, err := server.Read()
					if err != nil {
						server.Close()
						return
					}
					m := gjson.ParseBytes(data)
					if m.Get("method").Str == "tools/call" {
						got <- string(data)
					}
					server.Write([]byte(done(m.Get("id").Raw))) //nolint:errcheck // the client may be gone
				}
			}()
			first := s.post(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}`)
			s.post(call("1", "get_order", meant), "Mcp-Session-Id: "+first.Header.Get("Mcp-Session-Id"))
			if raw := receive(t, got, "the server"); raw != call("1", "get_order", stripped) {
				t.Errorf("forwarded %s", raw)
			}
			check(t, callsOf(s.front), 1)
		})
	}
}

// A tool that has an argument of this name keeps it: it is judged like any other, and says nothing to Umpire.
func TestAnIntentThatTheServerDeclaredIsAnArgument(t *testing.T) {
	for name, schema := range map[string]string{
		"plain":   `{"properties":{"umpire_intent":{"type":"string"}}}`,
		"by $ref": `{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"umpire_intent":{"type":"string"}}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, `rules: [{name: asks, on: "*/*", where: "has(args.umpire_intent) && call.intent == ''", do: deny}]`)
			x = join(t, x.disk, x.gate, support, func(cfg *proxy.LinkConfig) { cfg.Intent = wire.Intent })
			x.pass(listTools)
			list := result("1", `{"tools":[{"name":"get_order","inputSchema":`+schema+`}]}`)
			x.say(x.server, list)
			x.hears(x.client, list)
			x.say(x.client, toolCall("2", "get_order", `{"umpire_intent":"theirs"}`))
			denied(t, x.hear(x.client), "2")
		})
	}
	// Of a definition that is too long to keep, nobody knows what it declares.
	x := begin(t, noRules)
	x.pass(listTools)
	x.say(x.server, result("1", `{"tools":[{"name":"get_order","description":"`+strings.Repeat("x", 256<<10)+`","inputSchema":{"properties":{"umpire_intent":{}}}}]}`))
	x.hear(x.client)
	x.pass(toolCall("2", "get_order", `{"umpire_intent":"theirs"}`))
}

// What a model says about a call makes the call stricter where a rule says so, and looser nowhere.
func TestAnIntentIsForRulesToAskAboutAndLoosensNothing(t *testing.T) {
	x := begin(t, `rules:
  - {name: explain, on: "billing/issue_refund", where: "call.intent == ''", do: deny}
  - {name: asked, on: "billing/delete_*", where: "!asked(tool) || !origin(args).user", do: deny}`)
	x.say(x.client, toolCall("1", "issue_refund", `{"a":1}`))
	denied(t, x.hear(x.client), "1")
	x.say(x.client, toolCall("2", "issue_refund", `{"a":1,"umpire_intent":"The user wants a refund."}`))
	x.hears(x.server, toolCall("2", "issue_refund", `{"a":1}`))
	for _, lie := range []string{"The user asked me to delete order ord_99.", "delete_order ord_99"} {
		x.say(x.client, toolCall("3", "delete_order", `{"order_id":"ord_99","umpire_intent":"`+lie+`"}`))
		denied(t, x.hear(x.client), "3")
	}
}

func TestASecretInAnIntentIsNotStored(t *testing.T) {
	x := begin(t, noRules)
	secret := "ghp_" + strings.Repeat("a", 36)
	x.say(x.client, toolCall("1", "read", `{"umpire_intent":"Log in with `+secret+` `+strings.Repeat("x", 5000)+`"}`))
	x.hears(x.server, toolCall("1", "read", `{}`))
	if c := logged[*event.Call](x)[0]; strings.Contains(c.Intent, secret) || !strings.Contains(c.Intent, "[redacted ") || len(c.Intent) > wire.MinMaxValue {
		t.Errorf("%q", c.Intent)
	}
}

// A retry after a question is the same call, whatever it says about itself.
func TestARetryMayDeclareAnotherIntent(t *testing.T) {
	f := stand(t, threeRefunds, func(w http.ResponseWriter, _ *http.Request, body string) {
		if strings.Contains(body, "inputResponses") {
			give(w, http.StatusOK, done(gjson.Get(body, "id").Raw))
			return
		}
		give(w, http.StatusOK, `{"jsonrpc":"2.0","id":`+gjson.Get(body, "id").Raw+`,"result":{"resultType":"input_required","inputRequests":{},"requestState":"s"}}`)
	})
	headers := []string{"Mcp-Method: tools/call", "Mcp-Name: issue_refund", "Mcp-Protocol-Version: 2026-07-28"}
	f.post(modern("1", "tools/call", `"name":"issue_refund","arguments":{"umpire_intent":"one"}`), headers...)
	f.post(modern("2", "tools/call", `"name":"issue_refund","arguments":{"umpire_intent":"two"},"inputResponses":{},"requestState":"s"`), headers...)
	var retry uint64
	for _, e := range f.log() {
		if c, ok := e.Body.(*event.Call); ok {
			retry = c.Retry
		}
	}
	if retry == 0 {
		t.Error("the retry is a call of its own")
	}
}

// Who announces a call knows its arguments with the intent in them.
func TestAnAnnouncedCallIsTheSameWithAndWithoutItsIntent(t *testing.T) {
	a := proxy.ArgsDigest([]byte(`{"umpire_intent":"x","b":1}`))
	if b := proxy.ArgsDigest([]byte(`{"b":1.0,"umpire_intent_why":"y"}`)); a != b || a == proxy.ArgsDigest([]byte(`{"b":2}`)) {
		t.Errorf("%s and %s", a, b)
	}
}
