package daemon_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
)

// A person finds the agent that has changed, sees what is new about it, and why a call of it is strange.
func TestAPersonSeesWhatIsNewAboutAnAgentInABrowser(t *testing.T) {
	b := launchBrowser(t)
	opts := options(t, habitRules)
	life := practised(t, time.Now())
	life.store(opts)
	d := start(t, opts)
	t.Cleanup(d.Close)
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	link, err := h.Console("", false)
	if err != nil {
		t.Fatal(err)
	}
	origin, _, _ := strings.Cut(link.URL, "/#")
	p := b.open(false)
	p.theme("light")
	p.visit(link.URL)
	p.sees("Overview")
	p.keys("g", "a")
	p.await(`document.querySelectorAll('tbody tr').length === 3 && !document.querySelector('.foot-note')`)
	p.sees("by its group")
	p.sees(`\u202eevil`)
	p.shot("agents-habits")
	p.click("button", "Strange")
	p.click("tr", "support-agent")

	// The page of the agent has all of it in words, too.
	p.sees("New this week")
	p.await(`document.querySelector('h1')?.innerText === 'support-agent'`)
	p.await(`document.querySelector('svg.graph .edge.new')`)
	p.await(`document.querySelector('.chart .band') && document.querySelector('.mark.odd')`)
	p.sees(`first use of server "mail"`)
	p.click("button", "10 seconds")
	p.await(`document.querySelector('svg.chart').getAttribute('aria-label').startsWith('calls in 10s on each of the last 28 days: at most 25;')`)
	p.shot("agent")
	for _, x := range []string{"svg.chart", "svg.graph", ".hours svg"} {
		p.await(fmt.Sprintf(`document.querySelector(%q).getAttribute('role') === 'img' && document.querySelector(%q).getAttribute('aria-label').length > 10`, x, x))
	}
	p.run(`document.querySelector('svg.graph').scrollIntoView({block: 'center'})`)
	p.shot("agent-graph")
	p.click("summary", "As a list")
	p.await(`[...document.querySelectorAll('.steps-list tr')].some((r) => r.innerText.includes('mail/send') && r.innerText.includes('new: 1 times, 1 stopped'))`)
	if got := p.run(`document.querySelectorAll('*').length < 3000`); got != "true" {
		t.Error("the page has too many nodes")
	}
	mail := uint64(0)
	for _, e := range life.log {
		if c, ok := e.Body.(*event.Call); ok && c.Server == "mail" {
			mail = e.Seq
		}
	}

	// A strange call, and the picture that makes it obvious.
	p.visit(fmt.Sprintf("%s/#/session/x1/%d", origin, mail))
	p.await(`document.querySelector('.picture')?.innerText.includes('first use of server "mail"')`)
	p.await(`[...document.querySelectorAll('.picture tr.own')].some((r) => r.innerText.includes('mail') && r.innerText.includes('never · this call'))`)
	p.shot("call-strange")
	swept := uint64(0)
	for _, e := range life.log {
		if _, ok := e.Body.(*event.Call); ok && e.Session == "x3" {
			swept = e.Seq
		}
	}
	p.visit(fmt.Sprintf("%s/#/session/x3/%d", origin, swept))
	p.await(`[...document.querySelectorAll('.picture tr.own')].some((r) => r.innerText.includes('ord_200014') && r.innerText.includes('this call'))`)
	p.run(`document.querySelector('.picture').scrollIntoView()`)
	p.shot("call-sweep")

	// Names that want to be markup are text.
	for _, page := range []string{"agent/" + url.PathEscape(evil), "session/x4"} {
		p.visit(origin + "/#/" + page)
		p.await(`document.body.innerText.includes('<b>new</b>')`)
		p.run(`document.querySelectorAll('summary').forEach((s) => s.click())`)
		p.keys("j", "Enter")
		if got := p.run(`[window.pwned ?? 0, document.scripts.length, document.querySelectorAll('main b b, img:not([src="/icon.svg"]), iframe, object, [onerror]').length].join()`); got != `"0,1,0"` {
			t.Errorf("%s: markup became a part of the page: %s", page, got)
		}
	}
	p.visit(origin + "/#/agent/" + url.PathEscape(evil))
	p.await(`document.querySelector('svg.graph')`)
	p.shot("agent-hostile")
	for _, complaint := range b.complained() {
		t.Errorf("a page complains: %s", complaint)
	}

	// In the dark, and on a phone.
	for _, scheme := range []string{"dark", "light"} {
		p.theme(scheme)
		p.await(fmt.Sprintf("document.documentElement.dataset.theme === %q", scheme))
		for _, size := range []string{"desktop", "phone"} {
			for page, path := range map[string]string{"agents": "agents", "agent": "agent/support-agent", "agent-few": "agent/night-agent", "call": fmt.Sprintf("session/x1/%d", mail)} {
				p.size(1360, 860)
				if size == "phone" {
					p.size(390, 844)
				}
				p.visit("about:blank")
				p.visit(origin + "/#/" + path)
				p.await(`document.querySelector('.panel, .picture details')`)
				if size == "phone" {
					p.await(`document.documentElement.scrollWidth <= 390`)
				}
				p.shot(fmt.Sprintf("%s-%s-%s", scheme, size, page))
				if page == "agent" {
					p.size(map[string]int{"desktop": 1360, "phone": 390}[size], 3400)
					p.shot(fmt.Sprintf("%s-%s-%s-whole", scheme, size, page))
				}
			}
		}
	}
}

// Where there is no baseline, the pages say what to run.
func TestTheConsoleSaysHowToLearnABaseline(t *testing.T) {
	b := launchBrowser(t)
	opts := options(t, "rules: []")
	recorded(t, opts, 60)
	d := start(t, opts)
	t.Cleanup(d.Close)
	h := history.Dial(filepath.Join(opts.StateDir, config.SocketFile))
	defer h.Close()
	link, err := h.Console("", false)
	if err != nil {
		t.Fatal(err)
	}
	origin, _, _ := strings.Cut(link.URL, "/#")
	p := b.open(false)
	p.theme("light")
	p.visit(link.URL)
	p.sees("Overview")
	p.visit(origin + "/#/agents")
	p.sees("umpire baseline learn")
	p.sees("no baseline")
	p.shot("agents-none")
	p.keys("j", "Enter")
	p.sees("umpire baseline promote")
	p.shot("agent-none")
	for _, complaint := range b.complained() {
		t.Errorf("a page complains: %s", complaint)
	}
}
