// Package notify tells people and programs elsewhere that a call is on hold: by the bell of a terminal, a notification of
// the desktop, and a webhook. It follows the Desk, which never waits for it: whatever fails here delays and decides nothing.
package notify

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
)

// Config says how to tell.
type Config struct {
	Bell    io.Writer // the terminal that rings; nil is none
	Desktop bool
	Webhook *Endpoint // nil is none
	Version string    // of Umpire, for who gets a webhook
	Log     *slog.Logger

	transport http.RoundTripper // of the webhook; nil is the network
}

// How often people are told at most: of the first call at once, of those that come within a pause together.
const (
	bellPause    = 2 * time.Second
	desktopPause = 10 * time.Second
)

// Notifier tells of one Desk.
type Notifier struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	desktop *desktop // nil if it is not used
	webhook *webhook // likewise
}

// Start begins to tell what happens at a Desk. Close ends it.
func Start(desk *review.Desk, cfg Config) *Notifier {
	n := &Notifier{cfg: cfg}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	var pacers []*pacer
	if cfg.Bell != nil {
		pacers = append(pacers, newPacer(bellPause, func(context.Context, []review.Held) {
			io.WriteString(cfg.Bell, "\a") //nolint:errcheck // whoever cannot hear it does not
		}))
	}
	if cfg.Desktop {
		n.desktop = newDesktop(cfg.Log)
		pacers = append(pacers, newPacer(desktopPause, n.desktop.tell))
	}
	if len(pacers) > 0 {
		_, feed := desk.Follow()
		n.running.Go(func() {
			defer feed.Stop()
			n.people(feed, pacers)
		})
	}
	if cfg.Webhook != nil {
		n.webhook = newWebhook(cfg)
		_, feed := desk.Follow()
		n.running.Go(func() {
			defer feed.Stop()
			n.webhook.run(n.ctx, feed)
		})
	}
	return n
}

// people tells people, until the Desk has closed.
func (n *Notifier) people(feed *review.Feed, pacers []*pacer) {
	ctx, cancel := context.WithCancel(n.ctx)
	var telling sync.WaitGroup
	for _, p := range pacers {
		telling.Go(func() { p.run(ctx) })
	}
	for more := true; more; {
		var list []review.Change
		list, _, more = feed.Next(n.ctx)
		for _, p := range pacers {
			p.add(list)
		}
	}
	cancel()
	telling.Wait()
}

// grace is how long a webhook may take to tell how holds ended, once the Desk has closed.
const grace = 2 * time.Second

// Close ends the Notifier, once the Desk has closed: what still is to be told to a webhook is tried once.
func (n *Notifier) Close() {
	if n.webhook != nil {
		close(n.webhook.closing)
	}
	stop := time.AfterFunc(grace, n.cancel)
	n.running.Wait()
	stop.Stop()
	n.cancel()
}

// Channel is a way to tell.
type Channel struct {
	Name    string `json:"name"`
	Problem string `json:"problem,omitempty"` // why it does not work
}

// The names of channels; that of a webhook goes on with where it leads.
const (
	OfBell    = "bell"
	OfDesktop = "desktop"
	ofWebhook = "webhook to "
)

// Ways says which channels a configuration has, and what stands in the way of them here, as far as that can be seen without using
// them.
func Ways(cfg Config) (out []Channel) {
	if cfg.Bell != nil {
		out = append(out, Channel{Name: OfBell})
	}
	if cfg.Desktop {
		c := Channel{Name: OfDesktop}
		if err := CheckDesktop(); err != nil {
			c.Problem = err.Error()
		}
		out = append(out, c)
	}
	if cfg.Webhook != nil {
		out = append(out, Channel{Name: ofWebhook + cfg.Webhook.Host()})
	}
	return out
}

// Channels is Ways, with what has gone wrong when they were used.
func (n *Notifier) Channels() []Channel {
	out := Ways(n.cfg)
	for i := range out {
		switch {
		case out[i].Problem != "":
		case out[i].Name == OfDesktop:
			out[i].Problem = n.desktop.trouble.now()
		case n.webhook != nil && out[i].Name == ofWebhook+n.cfg.Webhook.Host():
			out[i].Problem = n.webhook.trouble.now()
		}
	}
	return out
}

// pacer tells of calls that begin to wait: of the first at once, of those that come within a pause of that together, at its
// end, as far as they wait still.
type pacer struct {
	pause time.Duration
	tell  func(context.Context, []review.Held)
	more  chan struct{}

	mu      sync.Mutex
	waiting []review.Held // nobody was told of them; as many as there is room for at the Desk
}

func newPacer(pause time.Duration, tell func(context.Context, []review.Held)) *pacer {
	return &pacer{pause: pause, tell: tell, more: make(chan struct{}, 1)}
}

func (p *pacer) add(list []review.Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := map[uint64]bool{}
	for _, c := range list {
		if c.Ended == nil {
			p.waiting = append(p.waiting, c.Held)
		} else {
			ended[c.Call] = true
		}
	}
	kept := p.waiting[:0]
	for _, h := range p.waiting {
		if !ended[h.Call] {
			kept = append(kept, h)
		}
	}
	clear(p.waiting[len(kept):])
	if p.waiting = kept[max(0, len(kept)-review.MaxHeld):]; len(p.waiting) > 0 {
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

func (p *pacer) take() []review.Held {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.waiting
	p.waiting = nil
	return list
}

func (p *pacer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.more:
		}
		list := p.take()
		if len(list) == 0 { // all of them have ended
			continue
		}
		p.tell(ctx, list)
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.pause):
		}
	}
}

// trouble is why something does not work. It is logged when it begins, when it becomes another, and when it is over.
type trouble struct {
	what string
	log  *slog.Logger

	mu  sync.Mutex
	why string
}

func (t *trouble) set(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch why {
	case t.why:
	case "":
		t.log.Info(t.what + " works again")
	default:
		t.log.Warn(t.what+" does not work", "error", why)
	}
	t.why = why
}

func (t *trouble) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why
}
