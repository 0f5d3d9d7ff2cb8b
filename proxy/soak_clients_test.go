package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// customer is a client that behaves as clients do: most of the time well.
type customer struct {
	*soak
	agent   string
	dice    *rand.Rand
	client  *http.Client
	session string // of the protocol
	ids     int
}

// endurance is for how long a client waits for an answer that has to come.
const endurance = 90 * time.Second

// wish draws a call.
func (c *customer) wish() (server, tool, args string) {
	order := fmt.Sprintf(`"order":"o%d"`, c.dice.IntN(12))
	switch c.dice.IntN(10) {
	case 0, 1, 2:
		return "shop", "pay", fmt.Sprintf(`%s,"amount":%d`, order, c.dice.IntN(100))
	case 3, 4, 5:
		return "shop", "look", order
	case 6:
		return "shop", "ship", order
	case 7:
		return "shop", "guess", order
	case 8:
		return "files", "read", fmt.Sprintf(`"secret":%v`, c.dice.IntN(4) == 0)
	}
	return "shop", "send", order
}

// frame makes a call of a tool, with a number of its own.
func (c *customer) frame(id, tool, args string) (n int, frame []byte) {
	n = c.number()
	meta := fmt.Sprintf(`,"_meta":{"sessionId":"of %s","progressToken":%d}`, c.agent, n)
	return n, sealed(id, tool, fmt.Sprintf(`"n":%d,%s`, n, args), meta)
}

// id draws an id that is not in use.
func (c *customer) id() string {
	c.ids++
	if c.ids%2 == 0 {
		return fmt.Sprintf(`"%s-%d"`, c.agent, c.ids)
	}
	return fmt.Sprint(c.ids)
}

// think waits a moment.
func (c *customer) think(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(c.dice.IntN(int(300 * time.Millisecond)))):
	}
}

// buy is the life of a client over HTTP.
func (c *customer) buy(ctx context.Context) {
	for ; ctx.Err() == nil; c.think(ctx) {
		url := c.url()
		server, tool, args := c.wish()
		url += "/" + server + "/mcp"
		switch c.dice.IntN(40) {
		case 0: // junk
			body := []string{"", "{", "[]", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","name":"pay"}}`, strings.Repeat("[", 500)}
			c.exchange(ctx, http.MethodPost, url, []byte(body[c.dice.IntN(len(body))]), nil)
		case 1, 2: // a stream that is listened to for a while
			some, drop := context.WithTimeout(ctx, time.Duration(c.dice.IntN(int(100*time.Millisecond))))
			c.exchange(some, http.MethodGet, url, nil, nil)
			drop()
		case 3:
			c.exchange(ctx, http.MethodDelete, url, nil, nil)
			c.session = ""
		case 4, 5: // another session of the protocol, the one before is left as it is
			c.session = ""
			c.exchange(ctx, http.MethodPost, url, fmt.Appendf(nil,
				`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","clientInfo":{"name":%q,"version":"1"},"capabilities":{}}}`, c.agent), nil)
		case 6:
			c.exchange(ctx, http.MethodPost, url, []byte(`{"jsonrpc":"2.0","id":"l","method":"tools/list"}`), nil)
		case 7, 8: // a client that has no endurance
			some, leave := context.WithTimeout(ctx, time.Duration(c.dice.IntN(int(60*time.Millisecond))))
			c.call(some, url, c.id(), tool, args)
			leave()
		case 9: // the same id twice, at the same time
			id := c.id()
			n, frame := c.frame(id, tool, args)
			var other sync.WaitGroup
			other.Go(func() { c.post(ctx, url, id, n, frame) })
			m, again := c.frame(id, tool, args)
			c.post(ctx, url, id, m, again)
			other.Wait()
		case 10: // a call that is cancelled by a notification
			id := c.id()
			n, frame := c.frame(id, tool, args)
			var other sync.WaitGroup
			other.Go(func() { c.post(ctx, url, id, n, frame) })
			c.exchange(ctx, http.MethodPost, url, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, id), nil)
			other.Wait()
		default:
			c.call(ctx, url, c.id(), tool, args)
		}
	}
}

func (c *customer) call(ctx context.Context, url, id, tool, args string) {
	n, frame := c.frame(id, tool, args)
	c.post(ctx, url, id, n, frame)
}

// post makes a call and checks that it gets one answer, its own, or an error.
func (c *customer) post(ctx context.Context, url, id string, n int, frame []byte) {
	answers := 0
	var got []string
	whole := c.exchange(ctx, http.MethodPost, url, frame, func(m gjson.Result) {
		got = append(got, m.Raw)
		if m.Get("id").Raw == id && (m.Get("result").Exists() || m.Get("error").Exists()) {
			answers++
			c.answered(n, m)
		}
	})
	if answers > 1 || whole && answers == 0 {
		c.fault("call %d, %s, got %d answers: %q", n, frame, answers, got)
	}
}

// answered checks the answer to call n.
func (b *books) answered(n int, m gjson.Result) {
	text := m.Get("result.content.0.text").Str
	switch {
	case m.Get("result._meta.umpire/verdict").Exists():
		b.note(n, refused)
	case strings.HasPrefix(text, "done") && text != fmt.Sprintf("done %d", n):
		b.fault("call %d got the answer %q", n, text)
	case strings.HasPrefix(text, "done") && !b.reachedServer(n):
		b.fault("call %d is answered, and no server had it", n)
	}
}

// exchange sends a request and hands every message of the response on. It reports whether the response was there to its
// end, with messages.
func (c *customer) exchange(ctx context.Context, method, url string, body []byte, each func(gjson.Result)) (whole bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, endurance, errPatience)
	defer cancel()
	defer func() {
		if errors.Is(context.Cause(ctx), errPatience) {
			c.fault("no answer to %s %s", method, body)
		}
	}()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(string(body)))
	if err != nil {
		c.fault("%v", err)
		return false
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("User-Agent", c.agent)
	if session := c.session; session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return false // cut, cancelled, or Umpire is being restarted
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		c.session = id
	}
	hear := func(m gjson.Result) {
		switch {
		case each == nil:
		case m.IsArray():
			m.ForEach(func(_, m gjson.Result) bool {
				each(m)
				return true
			})
		default:
			each(m)
		}
	}
	if resp.StatusCode != http.StatusOK {
		io.Copy(io.Discard, resp.Body)
		return false
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return false
		}
		if each != nil && !json.Valid(text) {
			c.fault("%s is answered by %q", body, text)
		}
		hear(gjson.ParseBytes(text))
		return true
	}
	for events := transport.NewEvents(resp.Body, 1<<20); ; {
		e, err := events.Next()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if len(e.Data) > 0 {
			hear(gjson.ParseBytes(e.Data))
		}
	}
}

var errPatience = errors.New("no answer")

// pipe is the life of a client of a stdio server: it talks through a shim for a while, hangs up, and begins anew.
func (c *customer) pipe(ctx context.Context) {
	for ; ctx.Err() == nil; c.think(ctx) {
		patient, cancel := context.WithTimeout(ctx, endurance)
		client, server, err := transport.Attach(patient, c.socket(), transport.Hello{
			Name: "files", Process: c.agent + "[1]", Workspace: "/w", Asserted: map[string]string{},
		})
		cancel()
		if err != nil {
			continue // Umpire is being restarted
		}
		run, died := c.run.Load(), false
		var serving sync.WaitGroup
		serving.Go(func() { died = c.server.pipe(server) })
		open, peaceful := c.talk(ctx, client)
		client.Close()
		serving.Wait()
		if len(open) > 0 && peaceful && !died && !run.ending() && run == c.run.Load() {
			c.fault("a pipe leaves calls unanswered: %v", open)
		}
	}
}

// talk makes calls through a pipe, hangs up and returns the ids that have no answer. If it hung up in peace, there is
// none, unless the server died or Umpire was stopped.
func (c *customer) talk(ctx context.Context, conn *net.UnixConn) (open []string, peaceful bool) {
	var mu sync.Mutex
	asked := map[string][]int{} // by id, the calls that have no answer yet
	hear := func(m gjson.Result) {
		if m.Get("method").Exists() || m.Get("id").Type == gjson.Null {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		id := m.Get("id").Raw
		calls := asked[id]
		switch len(calls) {
		case 0:
			c.fault("a pipe brings an answer that nobody waits for: %s", m.Raw)
			return
		case 1:
			delete(asked, id)
		default:
			asked[id] = calls[1:]
		}
		if calls[0] >= 0 {
			c.answered(calls[0], m)
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		in := bufio.NewReaderSize(conn, 1<<16)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			hear(gjson.ParseBytes(line))
		}
	})
	say := func(line []byte) bool {
		_, err := conn.Write(append(line, '\n'))
		return err == nil
	}
	ask := func(id, tool, args string, times int) bool {
		var frames [][]byte
		mu.Lock()
		for range times {
			n, frame := c.frame(id, tool, args)
			if times > 1 { // the server's answer to one of them can be that to the other
				n = -1
			}
			asked[id] = append(asked[id], n)
			frames = append(frames, frame)
		}
		mu.Unlock()
		return say(bytes.Join(frames, []byte("\n")))
	}
	going := true
	for range 5 + c.dice.IntN(60) {
		id := c.id()
		tool, args := "read", fmt.Sprintf(`"secret":%v`, c.dice.IntN(4) == 0)
		if c.dice.IntN(3) == 0 {
			tool, args = "look", fmt.Sprintf(`"order":"o%d"`, c.dice.IntN(12))
		}
		switch c.dice.IntN(20) {
		case 0:
			going = say([]byte([]string{"junk", "{", `{"jsonrpc":"2.0","method":"x","id":{}}`}[c.dice.IntN(3)]))
		case 1:
			going = ask(id, tool, args, 2)
		case 2:
			cancel := fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, id)
			going = ask(id, tool, args, 1) && say(cancel)
		default:
			going = ask(id, tool, args, 1)
		}
		if !going || ctx.Err() != nil {
			break
		}
		if c.dice.IntN(3) == 0 {
			c.think(ctx)
		}
	}
	if c.dice.IntN(4) == 0 { // it is killed
		conn.Close()
		reading.Wait()
		return nil, false
	}
	peaceful = going && conn.CloseWrite() == nil
	conn.SetReadDeadline(time.Now().Add(endurance))
	reading.Wait()
	return slices.Sorted(maps.Keys(asked)), peaceful
}

// review is the life of a reviewer.
func (s *soak) review(ctx context.Context, who string, dice *rand.Rand) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(dice.IntN(int(40 * time.Millisecond)))):
		}
		desk := s.run.Load().gate.Desk()
		list := desk.List()
		if len(list) == 0 {
			continue
		}
		h := list[dice.IntN(len(list))]
		switch d := (review.Decision{Who: who, Approve: dice.IntN(2) == 0}); dice.IntN(3) {
		case 0: // leaves it to others, or to nobody
		default:
			v, err := desk.Decide(h.Call, d)
			if err != nil && !errors.Is(err, review.ErrGone) && !errors.Is(err, proxy.ErrNotRecorded) {
				s.fault("#%d cannot be decided: %v", h.Call, err)
			}
			if err == nil && !d.Approve && v.Action.Passes() {
				s.fault("#%d is denied by %s, and passes: %+v", h.Call, who, v)
			}
		}
	}
}
