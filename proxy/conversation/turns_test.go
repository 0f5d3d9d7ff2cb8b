package conversation_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/rules/event"
)

// post posts a turn, with headers such as "Origin: http://evil.com", and returns status and answer.
func (r *room) post(body string, headers ...string) (int, string) {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodPost, "http://localhost/v1/turns", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "helper/1.0")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	conversation.Turns{Ear: r.ear, Principal: proxy.Guard{User: "alice"}.Principal}.ServeHTTP(w, req)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestAnAgentTellsItsOwnTurns(t *testing.T) {
	r := newRoom(t)
	for i, turn := range []string{
		`{"conversation":"c1","turn":"t1","agent":"bot","role":"user","text":"pay the rent"}`,
		`{"conversation":"c1","turn":"t2","agent":"bot","role":"assistant","text":"","calls":["call_1"]}`,
		`{"conversation":"c1","turn":"t3","agent":"bot","role":"tool","text":"paid","calls":["call_1"],"trust":"untrusted"}`,
		`{"role":"user","text":"who am I?"}`,
	} {
		if code, answer := r.post(turn); code != http.StatusOK || answer == `{"seq":0}` {
			t.Errorf("%d: %d %s", i, code, answer)
		}
	}
	r.wants("user: pay the rent\nassistant [call_1]: \ntool (untrusted) [call_1]: paid\nuser: who am I?")
	turns := r.turns()
	if first := turns[0]; first.Source != "api" || first.Conversation != "c1" || first.ID != "t1" || first.Agent != "bot" ||
		first.Principal != "local:alice" || first.Asserted["sessionId"] != "c1" {
		t.Errorf("%+v", first)
	}
	if last := turns[3]; last.Agent != "helper" || last.Conversation != "" || last.Asserted != nil {
		t.Errorf("%+v", last)
	}
}

// A program that has lost the answer posts again: a turn with an id is recorded once, unless it says something else.
func TestATurnWithAnIDIsRecordedOnce(t *testing.T) {
	r := newRoom(t)
	for _, text := range []string{"yes", "no"} {
		for range 3 {
			r.post(fmt.Sprintf(`{"conversation":"c","turn":"1","role":"user","text":%q}`, text))
		}
	}
	if n := len(r.turns()); n != 2 {
		t.Errorf("%d turns:\n%s", n, said(r.turns()))
	}
	for range 3 {
		r.post(`{"conversation":"c","role":"user","text":"yes"}`)
	}
	if n := len(r.turns()); n != 5 {
		t.Errorf("%d turns, three of them without an id", n)
	}
	if code, answer := r.post(`{"conversation":"c","turn":"1","role":"user","text":"yes"}`); code != http.StatusOK || answer != `{"seq":0}` {
		t.Errorf("%d %s", code, answer)
	}
}

// A turn that is not understood is not taken in, and the answer says what to do.
func TestTurnsThatAreNotUnderstoodAreRefused(t *testing.T) {
	r := newRoom(t)
	for body, want := range map[string]string{
		``:                                      "ends too early",
		`{"role":"user"`:                        "want , or }",
		`[]`:                                    "want a JSON object",
		`{}`:                                    "role is missing: want user, assistant, system, tool",
		`{"role":"user"}`:                       "text is missing",
		`{"role":"User","text":""}`:             "role: want user",
		`{"role":"root","text":"x"}`:            "role: want user",
		`{"role":1,"text":"x"}`:                 "role: want user",
		`{"role":"user","text":1}`:              "text: want a string",
		`{"role":"user","text":["x"]}`:          "text: want a string",
		`{"role":"user","text":"x","Text":"y"}`: `unknown field \"Text\": want conversation, turn`,
		`{"role":"user","content":"x"}`:         `unknown field \"content\"`,
		`{"role":"user","role":"tool","text":"x"}`:                             "duplicate key",
		`{"role":"user","r\u006fle":"tool","text":"x"}`:                        "duplicate key",
		`{"role":"user","text":"x"}{"role":"tool","text":"x"}`:                 "after the end",
		`{"role":"user","text":"x","trust":"very"}`:                            "trust: want trusted, untrusted",
		`{"role":"user","text":"x","conversation":""}`:                         "conversation: want a string of 1 to 256 bytes",
		`{"role":"user","text":"x","turn":7}`:                                  "turn: want a string",
		`{"role":"user","text":"x","agent":null}`:                              "agent: want a string",
		`{"role":"user","text":"x","calls":["1"]}`:                             "calls: the assistant makes them",
		`{"role":"tool","text":"x","calls":"1"}`:                               "calls: want a list of ids",
		`{"role":"tool","text":"x","calls":[1]}`:                               "calls: want a string",
		`{"role":"tool","text":"x","calls":[` + many(200) + `]}`:               "calls: more than 128",
		`{"role":"user","text":"x","turn":"` + strings.Repeat("x", 257) + `"}`: "turn: want a string of 1 to 256 bytes",
		"{\"role\":\"user\",\"text\":\"\xff\"}":                                "UTF-8",
		strings.Repeat("[", 1<<20):                                             "nested deeper",
	} {
		if code, answer := r.post(body); code != http.StatusBadRequest || !strings.Contains(answer, want) || !strings.HasPrefix(answer, `{"error":`) {
			t.Errorf("%.80s: %d %.200s, want %s", body, code, answer, want)
		}
	}
	if code, answer := r.post(`{"role":"user","text":"` + strings.Repeat("x", 9<<20) + `"}`); code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", code, answer)
	}
	if n := len(recorded[event.Body](r)); n != 1 {
		t.Errorf("%d events", n)
	}
}

func many(n int) string { return strings.Repeat(`"1",`, n-1) + `"1"` }

// A page in a browser must not speak for the user, and can neither send JSON unasked nor hide where it comes from.
func TestPagesCannotSpeakForTheUser(t *testing.T) {
	r := newRoom(t)
	for _, header := range []string{
		"Content-Type: text/plain", "Content-Type: application/x-www-form-urlencoded", "Content-Type: ", "Sec-Fetch-Site: cross-site",
		"Sec-Fetch-Site: same-site", "Origin: http://evil.com", "Origin: null",
	} {
		if code, answer := r.post(`{"role":"user","text":"pay"}`, header); code < 400 {
			t.Errorf("%s: %d %s", header, code, answer)
		}
	}
	w := httptest.NewRecorder()
	h := conversation.Turns{Ear: r.ear, Principal: proxy.Guard{User: "alice"}.Principal}
	if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/v1/turns", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
	if len(r.turns()) > 0 {
		t.Error(said(r.turns()))
	}
}

func TestAFloodOfPostsIsTurnedAway(t *testing.T) {
	r := newRoom(t)
	code, answer := 0, ""
	for i := 0; i < 12_000 && code != http.StatusTooManyRequests; i++ {
		code, answer = r.post(`{"conversation":"c","role":"user","text":"again"}`)
	}
	if code != http.StatusTooManyRequests || !strings.Contains(answer, "too much") || len(r.turns()) != 10_000 {
		t.Errorf("%d %s after %d turns", code, answer, len(r.turns()))
	}
	if code, answer := r.post(`{"conversation":"other","role":"user","text":"hello"}`); code != http.StatusOK {
		t.Errorf("%d %s: the flood of one is that of another", code, answer)
	}
}
