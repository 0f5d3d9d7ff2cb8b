//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// endurance is for how long a client of the soak waits for an answer: the time limit of the official SDKs.
const endurance = 60 * time.Second

// customer is a client of the soak. When it dies, it is another one.
type customer struct {
	*soak
	kind string
	dice *rand.Rand
	well atomic.Int64 // the season in which the last call began that was answered as it should be
}

// think waits a moment.
func (c *customer) think(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(c.dice.IntN(int(400 * time.Millisecond)))):
	}
}

// question is a request under way.
type question struct {
	id       string
	n        int // of a call; -1 is none
	want     int // how long the answer has to be
	since    int64
	due      time.Time
	unknown  bool // what Umpire remembers of a request is too little for this one, if it is killed
	given    bool // the client has cancelled it
	answered bool
	season   int64 // in which it was
}

// wish draws a request.
func (c *customer) wish(id string) (q *question, frame []byte) {
	q = &question{id: id, n: -1, since: c.season(), due: time.Now().Add(endurance)}
	tool := ""
	switch c.dice.IntN(20) {
	case 0:
		return q, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"ping"}`, id)
	case 1:
		return q, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"tools/list"}`, id)
	case 2, 3:
		tool = "asked"
	case 4, 5:
		tool = "limited"
	case 6:
		tool = "never"
	case 7, 8, 9, 10:
		tool = "slow"
	default:
		tool = "free"
	}
	size := func() int {
		switch c.dice.IntN(100) {
		case 0:
			return 1<<20 + c.dice.IntN(1<<19)
		case 1, 2, 3:
			return 40_000 + c.dice.IntN(100_000)
		}
		return c.dice.IntN(300)
	}
	padding := size()
	q.n, q.want = c.call(tool), size()
	frame = message(id, tool, q.n, padding, q.want)
	q.unknown = len(id) > 60 || len(frame) > 1<<20
	return q, frame
}

// id draws an id of the form of any client's; serial is unique.
func (c *customer) id(serial int) string {
	switch serial % 5 {
	case 0:
		return fmt.Sprintf(`"q-%d"`, serial)
	case 1:
		return fmt.Sprint(9_007_199_254_740_993 + serial)
	}
	if c.dice.IntN(200) == 0 {
		return fmt.Sprintf(`"%s-%d"`, strings.Repeat("long", 20), serial)
	}
	return fmt.Sprint(serial)
}

// hear takes the answer to q.
func (c *customer) hear(q *question, m gjson.Result) {
	fair := c.fair(q.since) && !q.given
	text := m.Get("result.content.0.text").Str
	switch {
	case m.Get("error").Exists():
		if q.n >= 0 {
			c.answered(q.n, failed, m.Get("error").Raw, fair)
		} else if fair {
			c.fault("nothing was wrong, and %s got %s", q.id, m.Raw)
		}
	case q.n < 0:
	case m.Get("result._meta.umpire/verdict").Exists():
		c.answered(q.n, denied, text, fair)
	case text == fmt.Sprint("done ", q.n):
		if m.Get("result.content.1.text").Str != padded(q.n, q.want) {
			c.fault("the answer to call %d is not what the server said: %.200s", q.n, m.Raw)
		}
		c.answered(q.n, told, "", fair)
		c.well.Store(q.since)
	default:
		c.fault("call %d got %.300s", q.n, m.Raw)
	}
}

// post is the life of a client over Streamable HTTP.
func (c *customer) post(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := c.url + "/shop/mcp"
	if c.dice.IntN(4) == 0 {
		url = c.url + "/shop/to/" + c.upstream.url()
	}
	for serial := 1; ctx.Err() == nil; serial++ {
		c.think(ctx)
		q, frame := c.wish(c.id(serial))
		some, leave := context.WithTimeout(context.WithoutCancel(ctx), endurance)
		if c.dice.IntN(30) == 0 { // a client that does not wait
			q.given = true
			some, leave = context.WithTimeout(some, time.Duration(c.dice.IntN(int(50*time.Millisecond))))
		}
		err := c.exchange(some, client, url, q, frame)
		leave()
		switch {
		case q.given:
		case errors.Is(err, context.DeadlineExceeded):
			c.late(c.kind, q.id, q.n)
		case err != nil && c.fair(q.since):
			c.fault("nothing was wrong, and %s, call %d, got %v", q.id, q.n, err)
		}
	}
}

// exchange posts a request and hears its answer.
func (c *customer) exchange(ctx context.Context, client *http.Client, url string, q *question, frame []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(frame)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	take := func(text []byte) {
		m := gjson.ParseBytes(text)
		switch {
		case !json.Valid(text):
			c.fault("%s is answered by %.300q", q.id, text)
		case m.Get("method").Exists():
		case m.Get("id").Raw != q.id || q.answered:
			c.fault("%s, call %d, got what it did not ask for: %.300s", q.id, q.n, text)
		default:
			q.answered = true
			c.hear(q, m)
		}
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode == http.StatusOK {
			take(text)
		} else if err == nil {
			err = fmt.Errorf("%s: %.300s", resp.Status, text)
		}
		return err
	}
	for events := transport.NewEvents(resp.Body, 8<<20); ; {
		e, err := events.Next()
		switch {
		case errors.Is(err, io.EOF) && !q.answered:
			return errors.New("a stream that ends before the answer")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case len(e.Data) > 0:
			take(e.Data)
		}
	}
}

// line is a connection on which both sides speak when they want.
type line interface {
	say(frame []byte) error
	hear() ([]byte, error)
	leave() error // says that nothing more will be said; what the server still says can be heard
	cut()         // ends it at once, as if the client were killed
	over() error  // returns when nothing of it is left
}

// converse is the life of a client that keeps a connection: one conversation after another.
func (c *customer) converse(ctx context.Context, dial func(context.Context) (line, error)) {
	for ; ctx.Err() == nil; c.think(ctx) {
		since := c.season()
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), endurance)
		l, err := dial(patient)
		late := patient.Err() != nil
		cancel()
		if err != nil {
			if c.fair(since) || late {
				c.fault("client %s cannot begin: %v", c.kind, err)
			}
			continue
		}
		t := &talk{customer: c, line: l, open: map[string]*question{}, ended: make(chan struct{})}
		var listening sync.WaitGroup
		listening.Go(t.listen)
		peaceful := t.speak(ctx)
		if since = c.season(); peaceful && l.leave() == nil {
			select {
			case <-t.ended:
			case <-time.After(endurance):
				c.fault("client %s has left, and the conversation does not end", c.kind)
			}
		}
		l.cut()
		listening.Wait()
		gone := make(chan error, 1)
		go func() { gone <- l.over() }()
		select {
		case err := <-gone:
			if err != nil && peaceful && c.fair(since) {
				c.fault("nothing was wrong, and client %s ended with %v", c.kind, err)
			}
		case <-time.After(endurance):
			c.fault("client %s is gone, and something of it is left", c.kind)
		}
	}
}

// talk is a conversation.
type talk struct {
	*customer
	line
	ended chan struct{} // closed when nothing more can be heard
	mu    sync.Mutex
	open  map[string]*question // by id
}

// listen hears all that is said.
func (t *talk) listen() {
	defer close(t.ended)
	for {
		since := t.season()
		text, err := t.line.hear()
		if err != nil {
			return
		}
		m := gjson.ParseBytes(text)
		switch {
		case !json.Valid(text):
			if t.fair(since) {
				t.fault("client %s hears %.300q", t.kind, text)
			}
			continue // the beginning of a line, whose writer was killed
		case m.Get("method").Exists():
			if m.Get("id").Exists() {
				t.fault("client %s is asked %s", t.kind, text)
			}
			continue
		}
		t.mu.Lock()
		q := t.open[m.Get("id").Raw]
		again := q != nil && q.answered
		if q != nil && !again {
			q.answered, q.season = true, t.season()
		}
		t.mu.Unlock()
		if again && q.season%weathers == storm && strings.Contains(m.Get("error.message").Str, "Umpire was restarted") {
			t.tally("answered again by the next daemon")
			continue
		}
		if q == nil || again {
			t.fault("client %s hears what it did not ask for: %.300s", t.kind, text)
			continue
		}
		t.customer.hear(q, m)
	}
}

// say sends a frame.
func (t *talk) say(frame []byte) error {
	err := t.line.say(frame)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.fault("nobody takes what client %s says", t.kind)
	}
	return err
}

// ask sends a request.
func (t *talk) ask(q *question, frame []byte) error {
	t.mu.Lock()
	t.open[q.id] = q
	t.mu.Unlock()
	return t.say(frame)
}

// waiting returns how many requests are unanswered that have to be answered; late is one that should have been.
func (t *talk) waiting() (n int, late *question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.open {
		switch {
		case q.given, q.answered:
		case q.unknown && !t.fair(q.since):
			if time.Until(q.due) < endurance-10*time.Second {
				q.given = true // it waits no more
			} else {
				n++
			}
		case time.Now().After(q.due):
			late = q
		default:
			n++
		}
	}
	return n, late
}

// speak asks until it has had enough; it reports whether it ends in peace, with all that was asked answered.
func (t *talk) speak(ctx context.Context) (peaceful bool) {
	hello := &question{id: "0", n: -1, since: t.season(), due: time.Now().Add(endurance)}
	begin := hello.since
	if t.ask(hello, []byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"soak","version":"1"}}}`)) != nil || !t.settled(0) {
		return t.broken(begin)
	}
	if t.say([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)) != nil {
		return t.broken(begin)
	}
	for serial := range 20 + t.dice.IntN(200) {
		if ctx.Err() != nil {
			break
		}
		begin = t.season()
		q, frame := t.wish(t.id(serial + 1))
		if t.ask(q, frame) != nil {
			return t.broken(begin)
		}
		if t.dice.IntN(25) == 0 {
			t.mu.Lock()
			q.given = true
			t.mu.Unlock()
			if t.say(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, q.id)) != nil {
				return t.broken(begin)
			}
		}
		if t.dice.IntN(100) == 0 {
			t.abandon() // it is killed
			return false
		}
		if t.dice.IntN(3) > 0 {
			t.think(ctx)
		}
		if !t.settled(t.dice.IntN(8)) {
			return t.broken(begin)
		}
	}
	return t.settled(0) || t.broken(begin)
}

// abandon has it wait for nothing any more.
func (t *talk) abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.open {
		q.given = true
	}
}

// broken notes that the connection has broken off; it may while something is wrong.
func (t *talk) broken(since int64) bool {
	if t.fair(since) {
		n, _ := t.waiting()
		t.fault("nothing was wrong, and the connection of client %s broke off, with %d unanswered", t.kind, n)
	}
	return false
}

// settled waits until no more than so many requests are unanswered. It reports false if the connection breaks off before.
func (t *talk) settled(most int) bool {
	for {
		n, late := t.waiting()
		if late != nil {
			t.late(t.kind, late.id, late.n)
			return false
		}
		if n <= most {
			return true
		}
		select {
		case <-t.ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}
