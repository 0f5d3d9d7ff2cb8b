package proxy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// Real clients of both libraries, in front of real servers, in both eras: their users decide, each call is answered as it would be
// without Umpire, and what the server itself asks the user meanwhile is answered, too. Umpire's own part in it reaches no server.
func TestRealUsersDecideInTheirClients(t *testing.T) {
	eachPair(t, func(t *testing.T, p pair) {
		if !p.asks() || p.revision == "2025-03-26" { // where there is no session or no elicitation
			t.Skip("nobody can be asked")
		}
		m := meet(t, p, holdAll, func(c *proxy.HTTPConfig) { c.Elicitor = elicitor(t, c.Judge.(*proxy.Gate), p.client) })
		m.decide(t, p)
		for _, body := range m.received.sorted("") {
			if strings.Contains(body, "umpire") || gjson.Get(body, "result.content.decision").Exists() {
				t.Errorf("the server got %s", body)
			}
		}
		m.check(t)
	})
}

// It is the same over every transport, but for mcp-go's client over HTTP+SSE, which answers nothing.
func TestRealUsersDecideOverEveryTransport(t *testing.T) {
	eachVia(t, func(t *testing.T, p relayPair) {
		if p.client == "mark3" && (p.clientVia == "sse" || p.clientVia == "turns") {
			t.Skip("nobody can be asked")
		}
		m := meetVia(t, p, holdAll, p.client)
		m.decide(t, p.pair)
		verify(t, m.disk)
	})
}

// decide has a client make calls about which its user is asked, and ends the meeting.
func (m *meeting) decide(t *testing.T, p pair) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := m.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if !p.modern() { // what the server asks goes by this stream, or is lost
		receive(t, m.listening, "the GET stream")
	}
	for _, c := range []struct{ tool, text, want string }{
		{"echo", "approve me", "approve me"},
		{"echo", "refuse me", `denied it (\"no\"); it was on hold`},
		{"ask", "both", "acceptmap[name:Ann]bard"},
		{"fail", "", "it failed"},
	} {
		if c.tool == "ask" && !p.asks() {
			continue
		}
		got, err := m.Call(ctx, c.tool, map[string]any{"text": c.text}, false)
		if err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %s %v", c.tool, c.text, got, err)
		}
	}
	asked := strings.Count(strings.Join(m.Heard(), "|"), "elicit Umpire holds")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	m.end()
	if ran := strings.Join(m.house.tools(), " "); strings.Contains(ran, "refuse") || !strings.Contains(ran, "approve") {
		t.Errorf("the server ran %s", ran)
	}
	reviews := 0
	for _, e := range log(t, m.disk) {
		if r, ok := e.Body.(*event.Review); ok {
			if reviews++; !strings.HasPrefix(r.Who, "client:"+p.client+" (") {
				t.Errorf("%+v", r)
			}
		}
	}
	if reviews != asked || reviews < 3 {
		t.Errorf("%d decisions about %d questions", reviews, asked)
	}
}
