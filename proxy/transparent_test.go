package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/event"
)

// line is one message of a dialogue. ID and META stand for an id of any legal form and for members of _meta that belong
// to the era.
type line struct {
	from string // "client", "server"
	raw  string
}

func ask(method, params string) line {
	return line{"client", fmt.Sprintf(`{"jsonrpc":"2.0", "id":ID,"method":%q,"params":{%s"_meta":{META}},"x-vendor":{"deep":[1.0,1e2,-0,{"a\u0062":null}]}}`, method, comma(params))}
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return members + " , "
}

func answers(result string) line {
	return line{"server", fmt.Sprintf(`{"result" : {%s"_meta":{"com.example/x":{"y":[ ]}}, "x-vendor":"\u00e9é\/"},"id":ID, "jsonrpc":"2.0"}`, comma(result))}
}

func problem(code, data string) line {
	return line{"server", fmt.Sprintf(`{"jsonrpc":"2.0","id":ID,"error":{"code":%s,"message":"","data":%s,"extra":0}}`, code, data)}
}

func says(from, method, params string) line {
	return line{from, fmt.Sprintf(`{"method":%q,"params":{%s},"jsonrpc":"2.0","x":[]}`, method, params)}
}

// requires is a request of the server, and replies what the client says to it.
func requires(id, method, params string) line {
	return line{"server", fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":{%s}}`, id, method, params)}
}

func replies(id, rest string) line {
	return line{"client", fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, id, rest)}
}

const anyEra, legacyOnly, modernOnly = "", "legacy", "modern"

// dialogues is every kind of message that the revisions know, and some that they do not. Each begins with a request of
// the client, and its answer comes last.
var dialogues = []struct {
	name, era string
	lines     []line
}{
	{"ping", anyEra, []line{ask("ping", ""), answers("")}},
	{"a call", anyEra, []line{ask("tools/call", `"name":"t","arguments":{"n":12345678901234567890.10,"s":"\/\ud83d\ude00"}`), answers(`"content":[{"type":"x-new","blob":1E40}],"structuredContent":[1.0,null]`)}},
	{"a call without arguments", anyEra, []line{ask("tools/call", `"name":"t"`), answers(`"content":[]`)}},
	{"a call that fails", anyEra, []line{ask("tools/call", `"name":"t","arguments":null`), answers(`"isError":true,"content":[{"type":"text","text":"no"}]`)}},
	{"a call that is an error", anyEra, []line{ask("tools/call", `"name":"t","arguments":{}`), problem("-32602", `{"Code":1,"code":2}`)}},
	{"progress", anyEra, []line{ask("tools/call", `"name":"t","arguments":{}`), says("server", "notifications/progress", `"progressToken":0,"progress":0.10,"total":1e0,"message":"half"`), answers(`"content":[]`)}},
	{"log", anyEra, []line{ask("tools/call", `"name":"t"`), says("server", "notifications/message", `"level":"debug","logger":"l","data":{"any":[1.50]}`), answers(`"content":[]`)}},
	{"tools, a page", anyEra, []line{ask("tools/list", `"cursor":"p\u00e4ge 2"`), answers(`"tools":[{"name":"t","inputSchema":{"type":"object"},"x":1.0},{"name":"","z":[]},7],"nextCursor":"","ttlMs":0,"cacheScope":"private"`)}},
	{"resources", anyEra, []line{ask("resources/list", `"cursor":""`), answers(`"resources":[{"uri":"file:///a%20b","size":9007199254740993}],"nextCursor":"n"`)}},
	{"resource templates", anyEra, []line{ask("resources/templates/list", ""), answers(`"resourceTemplates":[{"uriTemplate":"x://{+path}"}]`)}},
	{"a resource", anyEra, []line{ask("resources/read", `"uri":"file:///a b?c#d"`), answers(`"contents":[{"uri":"file:///a","blob":"AA==","mimeType":"a/b"}]`)}},
	{"a resource that is none", anyEra, []line{ask("resources/read", `"uri":"x:y"`), problem("-32002", `{"uri":"x:y"}`)}},
	{"a subscription to a resource", legacyOnly, []line{ask("resources/subscribe", `"uri":"x:y"`), says("server", "notifications/resources/updated", `"uri":"x:y","title":"t"`), answers("")}},
	{"the end of one", legacyOnly, []line{ask("resources/unsubscribe", `"uri":"x:y"`), answers("")}},
	{"prompts", anyEra, []line{ask("prompts/list", ""), answers(`"prompts":[{"name":"p","arguments":[{"name":"a","required":true}]}]`)}},
	{"a prompt", anyEra, []line{ask("prompts/get", `"name":"p","arguments":{"a":"b"}`), answers(`"messages":[{"role":"user","content":{"type":"text","text":"x"}}]`)}},
	{"completion", anyEra, []line{ask("completion/complete", `"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"x"},"context":{"arguments":{}}`), answers(`"completion":{"values":["y"],"total":1.0,"hasMore":false}`)}},
	{"the level of the log", anyEra, []line{ask("logging/setLevel", `"level":"emergency"`), answers("")}},
	{"lists change", anyEra, []line{ask("x/wait", ""), says("server", "notifications/tools/list_changed", ""), says("server", "notifications/prompts/list_changed", ""), says("server", "notifications/resources/list_changed", `"_meta":{"a/b":0}`), answers("")}},
	{"an unknown method", anyEra, []line{ask("com.example/Tools/Call", `"names":["of no call"],"task":7`), problem("-32601", "null")}},
	{"an unknown notice", anyEra, []line{ask("x/wait", ""), says("server", "notifications/com.example/odd", `"tasks":[],"taskId":7`), answers("")}},
	{"a call made a task", legacyOnly, []line{ask("tools/call", `"name":"t","task":{"ttl":60000}`), answers(`"task":{"taskId":"1","status":"working","ttl":null,"pollInterval":0.5}`)}},
	{"the state of a task", anyEra, []line{ask("tasks/get", `"taskId":"1"`), says("server", "notifications/tasks/status", `"taskId":"1","status":"working"`), answers(`"taskId":"1","status":"input_required"`)}},
	{"the result of a task", legacyOnly, []line{ask("tasks/result", `"taskId":"1"`), answers(`"content":[{"type":"text","text":"\u0064one"}],"isError":false`)}},
	{"tasks, a page", legacyOnly, []line{ask("tasks/list", `"cursor":"c"`), answers(`"tasks":[{"taskId":"1","status":"completed"}],"nextCursor":"d"`)}},
	{"a task is cancelled", anyEra, []line{ask("tasks/cancel", `"taskId":"unknown"`), problem("-32602", `"no such task"`)}},
	{"sampling", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires("1", "sampling/createMessage", `"messages":[],"maxTokens":1.0,"tools":[{"name":"x"}],"_meta":{"progressToken":0}`), says("client", "notifications/progress", `"progressToken":0,"progress":1`), replies("1", `"result":{"role":"assistant","content":[{"type":"tool_use","id":"tools/call","name":"n","input":{}}],"model":"m"}`), answers(`"content":[]`)}},
	{"elicitation", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires(`""`, "elicitation/create", `"mode":"url","elicitationId":"e","url":"https://x/","message":"?"`), replies(`""`, `"result":{"action":"accept","content":{"n":9007199254740993}}`), says("server", "notifications/elicitation/complete", `"elicitationId":"e"`), answers(`"content":[]`)}},
	{"elicitation is declined", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires(`9007199254740993`, "elicitation/create", `"requestedSchema":{}`), replies(`9007199254740993`, `"error":{"code":-1,"message":"x","data":[]}`), answers(`"content":[]`)}},
	{"roots", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires("1.50", "roots/list", ""), replies("1.50", `"result":{"roots":[{"uri":"file:///w","name":"\u0000"}]}`), says("client", "notifications/roots/list_changed", ""), answers(`"content":[]`)}},
	{"the server gives its question up", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires(`"q"`, "sampling/createMessage", `"messages":[]`), says("server", "notifications/cancelled", `"requestId":"q","reason":"late"`), answers(`"content":[]`)}},
	{"the client gives its call up", legacyOnly, []line{ask("tools/call", `"name":"t"`), {"client", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":ID,"reason":"","x":{}}}`}, answers(`"content":[]`)}},
	{"a task of the client", legacyOnly, []line{ask("tools/call", `"name":"t"`), requires("3", "tasks/get", `"taskId":"c"`), replies("3", `"result":{"taskId":"c","status":"completed"}`), says("client", "notifications/tasks/status", `"taskId":"c","status":"failed"`), requires("4", "tasks/result", `"taskId":"c"`), replies("4", `"result":{"role":"assistant"}`), answers(`"content":[]`)}},
	{"discovery", modernOnly, []line{ask("server/discover", ""), answers(`"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}`)}},
	{"a question within the answer", modernOnly, []line{ask("tools/call", `"name":"t","arguments":{}`), answers(`"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{}}},"requestState":"\u0073"`)}},
	{"and its answer", modernOnly, []line{ask("tools/call", `"name":"t","arguments":{},"inputResponses":{"a":{"action":"accept"}},"requestState":"s"`), answers(`"resultType":"complete","content":[]`)}},
	{"a task that nobody asked for", modernOnly, []line{ask("tools/call", `"name":"t","arguments":{"task":1}`), answers(`"resultType":"task","taskId":"1","status":"working","ttlMs":null,"pollIntervalMs":1.0`)}},
	{"its notices", modernOnly, []line{ask("subscriptions/listen", `"notifications":{"taskIds":["1"]}`), says("server", "notifications/tasks", `"taskId":"1","status":"working","_meta":{"io.modelcontextprotocol/subscriptionId":ID}`), says("server", "notifications/tasks", `"taskId":"1","status":"completed","result":{"content":[1.0]}`), answers("")}},
	{"an answer to a task", modernOnly, []line{ask("tasks/update", `"taskId":"1","inputResponses":{}`), answers("")}},
}

// between is a client and a server with Umpire between them, of which a test holds both ends.
type between interface {
	say(from, raw string)
	hear(at string) string
}

// linePair is the ends of a pipe.
type linePair struct{ *talk }

func (p linePair) end(of string) *plug {
	if of == "client" {
		return p.client
	}
	return p.server
}
func (p linePair) say(from, raw string)  { p.talk.say(p.end(from), raw) }
func (p linePair) hear(at string) string { return p.talk.hear(p.end(at)) }

// httpPair is a client and a server over HTTP. Before 2026-07-28 the server has a stream of its own for what is no answer;
// since then that comes within the answer. Answers are streams, or plain JSON where asked for.
type httpPair struct {
	*front
	modern, plain bool
	up, down      chan string
	news          chan string
	mu            sync.Mutex
	asked         map[string]chan string // by id: what the server says within an answer
	posts         sync.WaitGroup         // that are not answered
}

func httpBetween(t *testing.T, modern, plain bool) *httpPair {
	p := &httpPair{modern: modern, plain: plain, up: make(chan string, 8), down: make(chan string, 8), news: make(chan string), asked: map[string]chan string{}}
	p.front = stand(t, noRules, func(w http.ResponseWriter, r *http.Request, body string) {
		m := gjson.Parse(body)
		says := p.news
		switch {
		case r.Method == http.MethodGet:
		case !m.Get("method").Exists() || !m.Get("id").Exists():
			w.WriteHeader(http.StatusAccepted)
			p.up <- body
			return
		default:
			says = make(chan string)
			p.mu.Lock()
			p.asked[m.Get("id").Raw] = says
			p.mu.Unlock()
			p.up <- body
			if plain {
				give(w, http.StatusOK, <-says)
				return
			}
		}
		send := stream(w)
		for {
			select {
			case raw := <-says:
				send("id: 7\r\nevent: message\r\ndata:" + raw + "\r\n\r\n")
				if r.Method == http.MethodPost && !gjson.Get(raw, "method").Exists() {
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	}, func(cfg *proxy.HTTPConfig) { cfg.Hearer = ear(t, cfg.Judge.(*proxy.Gate)) })
	if !modern {
		resp := p.open(p.request(t.Context(), http.MethodGet, "", inSession))
		p.listen(resp)
	}
	return p
}

// listen hands on what the events of a response hold.
func (p *httpPair) listen(resp *http.Response) {
	go func() {
		if resp.Header.Get("Content-Type") == "application/json" {
			buf := make([]byte, 1<<16)
			n := 0
			for {
				more, err := resp.Body.Read(buf[n:])
				if n += more; err != nil {
					break
				}
			}
			p.down <- string(buf[:n])
			return
		}
		listen := listener(resp)
		for {
			e, err := listen()
			if err != nil {
				return
			}
			if want := "id: 7\r\nevent: message\r\ndata:" + string(e.Data) + "\r\n\r\n"; string(e.Raw) != want {
				p.t.Errorf("event %q, want %q", e.Raw, want)
			}
			p.down <- string(e.Data)
		}
	}()
}

func (p *httpPair) say(from, raw string) {
	if from == "client" {
		m := gjson.Parse(raw)
		headers := []string{inSession, "Mcp-Protocol-Version: 2025-11-25"}
		if p.modern {
			headers = []string{"Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: " + m.Get("method").Str}
		}
		r := p.request(p.t.Context(), http.MethodPost, raw, headers...)
		p.posts.Go(func() {
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				if p.t.Context().Err() == nil { // else the test has failed before
					p.t.Error(err)
				}
				return
			}
			p.t.Cleanup(func() { resp.Body.Close() })
			if resp.StatusCode != http.StatusAccepted {
				p.listen(resp)
			}
		})
		return
	}
	to := p.news
	p.mu.Lock()
	for id, within := range p.asked {
		if gjson.Get(raw, "id").Raw == id && !gjson.Get(raw, "method").Exists() {
			delete(p.asked, id)
			to = within
		} else if p.modern {
			to = within
		}
	}
	p.mu.Unlock()
	to <- raw
}

func (p *httpPair) hear(at string) string {
	p.t.Helper()
	if at == "client" {
		return receive(p.t, p.down, "what the client hears")
	}
	return receive(p.t, p.up, "what the server hears")
}

// Invariant 5, for all that the protocol has: each side gets the bytes that the other has sent, and no others.
func TestEveryKindOfMessagePassesUnchanged(t *testing.T) {
	for name, front := range map[string]struct {
		era  string
		meet func(t *testing.T) between
		not  func(lines []line) bool
	}{
		"stdio":                 {legacyOnly, func(t *testing.T) between { return linePair{hearing(t, noRules)} }, nil},
		"stdio, 2026-07-28":     {modernOnly, func(t *testing.T) between { return linePair{hearing(t, noRules)} }, nil},
		"HTTP, streams":         {legacyOnly, func(t *testing.T) between { return httpBetween(t, false, false) }, nil},
		"HTTP, JSON":            {legacyOnly, func(t *testing.T) between { return httpBetween(t, false, true) }, nil},
		"HTTP, 2026-07-28":      {modernOnly, func(t *testing.T) between { return httpBetween(t, true, false) }, nil},
		"HTTP, 2026-07-28 JSON": {modernOnly, func(t *testing.T) between { return httpBetween(t, true, true) }, func(l []line) bool { return len(l) > 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			x := front.meet(t)
			meta := `"progressToken":0,"com.example/trace":{"a":[1.0,"\u00e9"]},"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","claudecode/toolUseId":"toolu_1","":""`
			if front.era == modernOnly {
				meta += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"x/y":{}}}`
			}
			n := 0
			for _, d := range dialogues {
				if d.era != anyEra && d.era != front.era || front.not != nil && front.not(d.lines) {
					continue
				}
				for _, id := range slices.Concat(rawIDs[n%len(rawIDs):n%len(rawIDs)+1], []string{`"` + d.name + `"`}) {
					for i, l := range d.lines {
						raw := strings.NewReplacer("META", meta, "ID", id).Replace(l.raw)
						to := "server"
						if l.from == to {
							to = "client"
						}
						x.say(l.from, raw)
						if got := x.hear(to); got != raw {
							t.Fatalf("%s, message %d of the %s:\nsent %s\ngot  %s", d.name, i, l.from, raw, got)
						}
					}
				}
				n++
			}
			for _, id := range rawIDs {
				call, result := toolCall(id, "t", "{}"), result(id, okResult)
				x.say("client", call)
				if got := x.hear("server"); got != call {
					t.Errorf("%s: %s", id, got)
				}
				x.say("server", result)
				if got := x.hear("client"); got != result {
					t.Errorf("%s: %s", id, got)
				}
			}
			var events []event.Event
			switch x := x.(type) {
			case linePair:
				events = x.log()
			case *httpPair:
				x.posts.Wait() // what is no request is answered, too
				events = x.log()
			}
			for _, e := range events {
				if s, ok := e.Body.(*event.Signal); ok {
					t.Errorf("noted: %s", s.Text)
				}
			}
			if n < 20 {
				t.Errorf("%d dialogues", n)
			}
		})
	}
}
