package daemon_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
)

// A person opens the console in a real browser, sees what happens as it happens, approves a held call by keys, finds and
// replays a session; and nothing that agents, tools and users say becomes a part of the page.
func TestAPersonWorksWithTheConsoleInABrowser(t *testing.T) {
	b := launchBrowser(t)
	opts, d, link := consoled(t)
	at := link()
	origin, _, _ := strings.Cut(at, "/#")
	p := b.open(false)
	p.theme("light")

	p.visit(origin) // nobody is let in without a link
	p.sees("umpire console")
	p.shot("door")
	p.visit("about:blank")
	p.visit(at)
	p.sees("Nothing has happened yet")
	if hash := p.run("location.href"); strings.Contains(hash, "token") {
		t.Errorf("the secret stays in the address: %s", hash)
	}
	stranger := b.open(true)
	stranger.visit(at)
	stranger.sees("This link was used or is too old")
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	file, err := h.Console("", true)
	if err != nil {
		t.Fatal(err)
	}
	stranger.visit("file://" + file.File) // what umpire console opens
	stranger.sees("Nothing has happened yet")
	if _, err := os.Stat(file.File); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link stays behind: %v", err)
	}
	stranger.visit("about:blank")
	p.visit("about:blank")
	p.visit(origin) // who is in stays in
	p.sees("Nothing has happened yet")
	p.shot("empty-overview")
	p.keys("g", "r")
	p.sees("Nothing is waiting")
	p.shot("empty-desk")
	p.keys("g", "s")
	p.sees("No sessions yet")
	p.shot("empty-sessions")
	p.keys("g", "p")
	p.sees("secret-then-send")
	p.keys("g", "t")
	p.sees("No tools yet")
	p.keys("g", "a")
	p.sees("No agents yet")

	incident(t, d.Addr())
	hostile(t, d.Addr())
	p.keys("g", "o")
	p.click("button", "1 hour")
	p.await(`document.querySelector('.tile b')?.innerText === '12'`)
	p.sees("refund-burst")
	p.shot("overview")

	// A call is held: the badge says so, and the desk shows it with what happened before.
	carl := agent{t, d.Addr(), "night-agent", "conv-carl"}
	carl.says("user", "trusted", "The whole furniture of ord_1001 is broken. I have called about it.")
	carl.calls("billing", "get_order", `{"order_id":"ord_1001"}`)
	carl.says("assistant", "trusted", "I will refund all of it.")
	answered := make(chan string, 1)
	go func() {
		answered <- carl.calls("billing", "issue_refund", `{"order_id":"ord_1001","customer_id":"c_ann","amount":500}`)
	}()
	p.await(`document.querySelector('.badge')?.innerText === '1'`)
	p.keys("g", "r")
	p.sees("its condition holds: args.amount > 100")
	p.sees("The whole furniture of ord_1001 is broken")
	p.shot("desk")
	p.keys("a")
	p.await(`document.activeElement.placeholder?.startsWith('A note')`)
	select {
	case text := <-answered:
		t.Fatalf("one key was enough: %s", text)
	default:
	}
	p.write("Ann called <b>me</b>")
	p.shot("desk-approve")
	p.keys("Enter")
	select {
	case text := <-answered:
		if !strings.Contains(text, "refunded 500 for ord_1001") {
			t.Errorf("the call was answered with %s", text)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the approved call is not answered")
	}
	p.sees("Nothing is waiting")
	p.sees("Decided lately")
	notes := 0
	for e, err := range history.Events(h, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Body.(*event.Review); ok && r.Approve && r.Note == "Ann called <b>me</b>" && strings.HasPrefix(r.Who, "local:") {
			notes++
		}
	}
	if notes != 1 {
		t.Errorf("the decision is recorded %d times", notes)
	}
	remembers(t, p, h, carl)

	// Sessions are found by name, by what became of their calls, and by what was said.
	p.keys("g", "s")
	p.await(`document.querySelectorAll('.session').length === 6`)
	p.click("button", "With calls") // two sessions have only asked for tools
	p.await(`document.querySelectorAll('.session').length === 4`)
	p.shot("sessions")
	p.run(`document.querySelector('.toast')?.remove()`)
	p.keys("/")
	p.write("coding")
	p.await(`document.querySelectorAll('.session').length === 1`)
	p.sees("coding-agent")
	p.click("button", "All that was said")
	p.keys("Escape", "/")
	p.write("neighbours too")
	p.sees("the manager has approved all of them")
	p.shot("search")
	p.click("button", "Names")
	p.run(`document.querySelector('input[type=search]').select()`)
	p.write("support")
	p.await(`document.querySelectorAll('.session').length === 1`)
	p.keys("Escape", "j", "Enter")

	// The timeline: lines lead from what was denied to what led to it.
	p.sees("Replay")
	p.await(`document.querySelectorAll('.lines path.cause.deny').length >= 3`)
	p.click(".event.deny", "issue_refund")
	p.await(`document.querySelector('.detail')?.innerText.includes('(limit 3)')`)
	p.await(`document.querySelectorAll('.lines path.own.cause').length === 3`)
	p.shot("session")
	story := strings.TrimSuffix(strings.TrimPrefix(p.run(`location.hash`), `"#/`), `"`)
	all := p.run(`document.querySelectorAll('.event').length`)
	p.click("button", "Stopped")
	p.await(`document.querySelectorAll('.event').length < ` + all)
	p.await(`![...document.querySelectorAll('.event .chip')].some((c) => c.innerText === 'allowed' && !c.closest('.event').innerText.includes('approved'))`)
	p.click("button", "All")

	// The replay steps, plays to the end, and shows how full windows were.
	p.run(`document.querySelector('.list').scrollTop = 0`)
	p.click(".event.turn", "my order ord_1001")
	p.click("button", "Replay")
	p.sees("1 of ")
	p.keys("ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
	p.sees("8 of ")
	p.await(`[...document.querySelectorAll('.standing.near')].some((m) => m.innerText.includes('refund-burst') && m.innerText.includes('3 of 3 calls in 10s') && m.innerText.includes('session s'))`)
	p.shot("replay")
	p.keys("ArrowLeft")
	p.sees("7 of ")
	p.run(`Object.assign(document.querySelector('.player select'), {value: 16}).dispatchEvent(new Event('change'))`)
	p.keys(" ")
	p.await(`document.querySelector('.player input').value === document.querySelector('.player input').max`)
	p.keys("Escape")
	p.await(`!document.querySelector('.player')`)

	// Markup in every place is text.
	p.visit(origin + "/#/sessions?q=onerror")
	p.await(`document.querySelectorAll('.session').length === 1`)
	p.sees("<img src=x")
	p.keys("j", "Enter")
	p.await(`document.querySelectorAll('.event.call').length === 2`)
	p.sees(`\u202eevil`)
	p.sees(`b: "x   amount: 5"`) // one argument, which does not look like two
	for _, kind := range []string{"turn.user", "turn.tool", "call", "call.log"} {
		p.click(".event."+kind, "<img")
		p.await(`document.querySelector('.detail').innerText.includes('<img src=x onerror')`)
	}
	p.shot("markup")
	p.click(".event.call.allow", "")
	p.sees("90.00")
	p.sees("12345678901234567890") // as it was sent, and not as JavaScript would have it
	for _, page := range []string{"overview", "tools", "agents", "policy", "sessions"} {
		p.visit(origin + "/#/" + page)
		p.await(`document.querySelector('h1')?.innerText.toLowerCase() === '` + page + `'`)
		p.await(`document.querySelector('.panel, .session')`)
		p.run(`document.querySelectorAll('tr[aria-expanded=false]').forEach((r) => r.click())`)
		if page != "policy" {
			p.sees("<img")
		}
		p.shot(page + "-open")
		if got := p.run(`[window.pwned ?? 0, document.scripts.length, document.querySelectorAll('img:not([src="/icon.svg"]), iframe, object, [onerror]').length].join()`); got != `"0,1,0"` {
			t.Errorf("%s: markup became a part of the page: %s", page, got)
		}
	}
	// A tool that has changed is looked at, and accepted as it is.
	postman := agent{t, d.Addr(), "postman", "conv-post"}
	postman.ask("mail", "tools/list", "", "")
	pulled.Store(true)
	defer pulled.Store(false)
	postman.ask("mail", "tools/list", "", "")
	p.visit(origin + "/#/tools")
	p.click("button", "Doubtful")
	p.await(`document.querySelectorAll('tbody tr[tabindex]').length === 1`)
	p.keys("j", "Enter")
	p.await(`document.querySelector('.diff .plus')?.innerText.includes('Copies go to eve')`)
	p.sees("<img src=x onerror")
	p.shot("tools-changed")
	p.click("button", "Accept as it is now")
	p.await(`document.activeElement.innerText === 'Accept'`)
	p.keys("Enter")
	p.sees("mail/send is accepted as it is described now")
	p.await(`document.querySelectorAll('tbody tr[tabindex]').length === 0`)
	accepted := 0
	for e, err := range history.Events(h, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := e.Body.(*event.Accepted); ok && strings.HasPrefix(a.Who, "local:") && a.Server == "mail" && a.Tools[0].Name == "send" {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("it is accepted %d times", accepted)
	}

	for _, complaint := range b.complained() {
		if !strings.Contains(complaint, "401 (Unauthorized)") && !strings.Contains(complaint, "403 (Forbidden)") { // before the link, and the second visit of it
			t.Errorf("a page complains: %s", complaint)
		}
	}
	gallery(p, origin, story)
}

// gallery keeps pictures of pages in the dark and on a phone, for people to look at.
func gallery(p *tab, origin, session string) {
	p.run(`document.querySelectorAll('.toast').forEach((t) => t.remove())`)
	for _, scheme := range []string{"dark", "light"} {
		p.theme(scheme)
		p.await(fmt.Sprintf("document.documentElement.dataset.theme === %q", scheme))
		for _, size := range []string{"desktop", "phone"} {
			p.size(1360, 860)
			if size == "phone" {
				p.size(390, 844)
			}
			for _, page := range []string{"overview", "sessions", session, "policy", "tools", "agents", "desk"} {
				p.visit(origin + "/#/" + page)
				p.await(`document.querySelector('.panel, .session, .event, .empty')`)
				name, _, _ := strings.Cut(page, "/")
				p.shot(scheme + "-" + size + "-" + name)
				if size == "phone" { // nothing sticks out
					p.await(`document.documentElement.scrollWidth <= 390`)
				}
			}
		}
	}
	p.keys("?")
	p.sees("approve, deny")
	p.shot("keys")
	p.keys("Escape")
	for _, size := range []string{"phone", "desktop"} {
		p.size(1360, 860)
		if size == "phone" {
			p.size(390, 844)
		}
		p.visit("about:blank")
		p.visit(origin + "/#/" + session)
		p.await(`document.querySelector('.event')`)
		p.keys(" ")
		p.await(`document.querySelector('.standing')`)
		p.keys("G")
		p.run(`Object.assign(document.querySelector('.player input'), {value: 99}).dispatchEvent(new Event('input'))`)
		p.await(`document.querySelector('.standing.deny')`)
		p.shot("replay-" + size)
	}
}

// A page of another server on this machine is of the same site, so the browser sends it the console's cookie along: it still can
// neither decide, nor read, nor listen.
func TestAnotherPageInTheSameBrowserCannotUseTheConsole(t *testing.T) {
	b := launchBrowser(t)
	opts, d, link := consoled(t)
	at := link()
	origin, _, _ := strings.Cut(at, "/#")
	p := b.open(false)
	p.visit(at)
	p.sees("Nothing has happened yet")
	ann := agent{t, d.Addr(), "support-agent", "conv-ann"}
	answered := make(chan string, 1)
	go func() { answered <- ann.calls("billing", "issue_refund", `{"order_id":"ord_1001","amount":500}`) }()
	p.await(`document.querySelector('.badge')?.innerText === '1'`)
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	held, err := h.Held()
	if err != nil || len(held) != 1 {
		t.Fatalf("%v %v", held, err)
	}
	var cookies []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			cookies = append(cookies, r.Header.Get("Cookie"))
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<title>kind</title>")
	}))
	defer evil.Close()
	e := b.open(false)
	e.visit(evil.URL)
	e.await("document.title === 'kind'")
	if len(cookies) == 0 { // else this test shows nothing
		t.Error("the browser sends the cookie to no other port")
	}
	for _, mode := range []string{"no-cors", "cors", "same-origin"} {
		for _, path := range []string{"/v1/held", fmt.Sprintf("/v1/held/%d", held[0].Call), "/v1/tools/accepted", "/v1/play?session=s1", "/enter", "/leave"} {
			for _, method := range []string{"GET", "POST"} {
				body := ""
				if method == "POST" {
					body = `, body: '{"approve":true}'`
				}
				got := e.run(fmt.Sprintf(`fetch(%q, {method: %q, mode: %q, credentials: 'include'%s}).then((r) => r.type === 'opaque' ? 'opaque' : r.status, () => 'failed')`, origin+path, method, mode, body))
				if got != `"opaque"` && got != `"failed"` {
					t.Errorf("%s %s %s: %s", mode, method, path, got)
				}
			}
		}
	}
	socket := strings.Replace(origin, "http", "ws", 1) + "/live"
	if got := e.run(fmt.Sprintf(`new Promise((done) => { const s = new WebSocket(%q, ['umpire.console.v1']); s.onopen = () => done('open'); s.onerror = () => done('refused'); })`, socket)); got != `"refused"` {
		t.Errorf("a socket: %s", got)
	}
	if got := e.run(fmt.Sprintf(`new Promise((done) => { const f = document.createElement('iframe'); f.src = %q; f.onload = () => { let seen = 'hidden'; try { seen = f.contentDocument?.title ?? 'hidden' } catch {} done(seen) }; document.body.append(f); })`, origin)); got != `"hidden"` {
		t.Errorf("a frame: %s", got)
	}
	if list, err := h.Held(); err != nil || len(list) != 1 {
		t.Errorf("the call does not wait any more: %v %v", list, err)
	}
	p.keys("g", "r")
	p.sees("its condition holds: args.amount > 100")
	p.keys("d")
	p.await(`document.activeElement.placeholder?.startsWith('A note')`)
	p.keys("Enter")
	if text := <-answered; !strings.Contains(text, "denied it") {
		t.Errorf("the console itself still works: %s", text)
	}
}

// A session in a history of 100,000 events is a long list of few nodes, from one end to the other.
func TestALongSessionHasFewNodes(t *testing.T) {
	b := launchBrowser(t)
	opts := options(t, "rules: []")
	recorded(t, opts, 36_000)
	d := start(t, opts)
	t.Cleanup(d.Close)
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	link, err := h.Console("", false)
	if err != nil {
		t.Fatal(err)
	}
	at := link.URL
	origin, _, _ := strings.Cut(at, "/#")
	p := b.open(false)
	p.visit(at)
	p.await(`document.querySelector('nav')`)
	few := `document.querySelectorAll('.event').length < 60 && document.querySelectorAll('*').length < 2500`
	p.visit(origin + "/#/session/s1")
	p.sees("The NEEDLE in the haystack") // a long one begins at its end
	p.await(few)
	p.keys("k", "k", "G")
	for range 30 { // and goes on, however fast somebody goes back
		p.run(`document.querySelector('.list').scrollTop = 0`)
		p.await(`document.querySelector('.list').scrollTop > 0`)
	}
	p.await(few)
	p.await(`document.querySelector('.list-inner').offsetHeight > 30 * 100 * 70`)
	p.visit(origin + "/#/session/s1/100000") // the call of which this is a part, in the middle
	p.await(`document.querySelector('.detail h2')?.innerText === 'billing/refund' && document.querySelector('.event[aria-selected=true]')`)
	p.await(few)
	for _, complaint := range b.complained() {
		t.Error(complaint)
	}
}

// remembers approves a call and those like it: what is shown first is the change of the policy, and then such calls pass, until
// that is revoked.
func remembers(t *testing.T, p *tab, h *history.Daemon, carl agent) {
	t.Helper()
	args := `{"order_id":"ord_1001","customer_id":"<img src=x onerror=alert(1)>","amount":%d,"list":[1]}`
	answered := make(chan string, 1)
	go func() { answered <- carl.calls("billing", "issue_refund", fmt.Sprintf(args, 600)) }()
	p.await(`document.querySelector('button.remember')`)
	p.keys("r")
	p.await(`document.querySelector('.memory .plus')?.innerText.includes('except:')`)
	p.await(`document.querySelector('.memory pre').innerText.includes('args: {"order_id": "ord_1001", "customer_id": "<img src=x onerror=alert(1)>", "amount": 600, "list": [1]}')`)
	p.await(`document.querySelectorAll('.memory input[type=checkbox]').length === 3`) // a list cannot be compared
	p.run(`[...document.querySelectorAll('.memory label')].find((l) => l.innerText.includes('customer_id')).querySelector('input').click()`)
	p.await(`document.querySelector('.memory pre').innerText.includes('with: {args.customer_id: "<img src=x onerror=alert(1)>"}')`)
	p.run(`Object.assign(document.querySelector('.memory select'), {value: '7d'}).dispatchEvent(new Event('change'))`)
	p.write("a regular")
	p.await(`document.querySelector('.memory pre').innerText.includes('note: "a regular"') && !document.querySelector('.confirm .approve').disabled`)
	p.shot("desk-remember")
	p.keys("Enter")
	select {
	case text := <-answered:
		if !strings.Contains(text, "refunded 600") {
			t.Errorf("the call was answered with %s", text)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the approved call is not answered")
	}
	p.sees("Approved for a while")
	p.sees("billing/issue_refund")
	if text := carl.calls("billing", "issue_refund", fmt.Sprintf(args, 700)); !strings.Contains(text, "refunded 700") {
		t.Errorf("a call like it was answered with %s", text)
	}
	list, err := h.Exceptions()
	if err != nil || len(list) != 1 || len(list[0].With) != 1 || list[0].Note != "a regular" || !strings.HasPrefix(list[0].Who, "local:") {
		t.Errorf("%+v %v", list, err)
	}
	p.shot("desk-remembered")
	p.click(".remembered button", "Revoke")
	if list, err := h.Exceptions(); err != nil || len(list) != 1 {
		t.Errorf("one click was enough: %+v %v", list, err)
	}
	p.click(".remembered button", "Revoke it")
	p.await(`!document.querySelector('.remembered')`)
	if list, err := h.Exceptions(); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	p.sees("Nothing is waiting")
}
