package proxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// tube carries frames in one direction and keeps those that nobody has read yet.
type tube struct {
	frames chan heard
	over   chan struct{}
	end    func()
}

type heard struct {
	frame []byte
	err   error
}

func newTube() *tube {
	t := &tube{frames: make(chan heard, 1<<12), over: make(chan struct{})}
	t.end = sync.OnceFunc(func() { close(t.over) })
	return t
}

// plug is one end of a connection in memory. It is a proxy.Conn.
type plug struct {
	in, out *tube
}

// cable returns a connection's two ends.
func cable() (a, b *plug) {
	there, back := newTube(), newTube()
	return &plug{in: back, out: there}, &plug{in: there, out: back}
}

// Read implements proxy.Conn.
func (p *plug) Read() ([]byte, error) {
	select {
	case h := <-p.in.frames:
		return h.frame, h.err
	default:
	}
	select {
	case h := <-p.in.frames:
		return h.frame, h.err
	case <-p.in.over:
	}
	select {
	case h := <-p.in.frames: // it came before the end
		return h.frame, h.err
	default:
		return nil, io.EOF
	}
}

// Write implements proxy.Conn.
func (p *plug) Write(frames ...[]byte) error {
	select {
	case <-p.out.over:
		return io.ErrClosedPipe
	default:
	}
	for _, f := range frames {
		p.out.frames <- heard{frame: slices.Clone(f)}
	}
	return nil
}

// CloseWrite implements proxy.Conn.
func (p *plug) CloseWrite() error {
	p.out.end()
	return nil
}

// Close implements proxy.Conn.
func (p *plug) Close() error {
	p.out.end()
	p.in.end()
	return nil
}

// talk is a client and a server in the hands of a test, with a Link between them that pumps.
type talk struct {
	t              testing.TB
	client, server *plug // the far ends of Umpire's connections
	disk           *manual
	gate           *proxy.Gate
	ended          chan error
	hangUp         func() error // ends both and returns what Pump returned
}

func cleaner(t testing.TB) *wire.Cleaner {
	t.Helper()
	c, err := wire.NewCleaner(wire.CleanerConfig{Redact: wire.DefaultRedact, MaxValue: 64 << 10, Secret: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// begin starts a talk under a policy. When the test ends, the talk does, and its history is replayed.
func begin(t testing.TB, policyText string) *talk {
	t.Helper()
	disk := &manual{}
	g := gate(t, disk, policy(t, policyText), nil)
	t.Cleanup(func() {
		g.Close()
		verify(t, disk)
	})
	who := support
	who.Protocol = "" // the protocol's beginning says it
	return join(t, disk, g, who)
}

// join starts a talk with a gate that others may use.
func join(t testing.TB, disk *manual, g *proxy.Gate, who proxy.Origin, change ...func(*proxy.LinkConfig)) *talk {
	t.Helper()
	x := &talk{t: t, disk: disk, gate: g, ended: make(chan error, 1)}
	client, nearClient := cable()
	server, nearServer := cable()
	x.client, x.server = client, server
	cfg := proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: who, KeepAlive: time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	link := proxy.NewLink(cfg)
	go func() { x.ended <- link.Pump(nearClient, nearServer) }()
	x.hangUp = sync.OnceValue(func() error {
		client.Close()
		server.Close()
		return receiveErr(t, x.ended)
	})
	t.Cleanup(func() { x.hangUp() })
	return x
}

func receiveErr(t testing.TB, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(30 * time.Second):
		t.Error("the pump does not end")
		return errors.New("the pump does not end")
	}
}

// say sends frames from one end.
func (x *talk) say(from *plug, frames ...string) {
	x.t.Helper()
	for _, f := range frames {
		if err := from.Write([]byte(f)); err != nil {
			x.t.Fatal(err)
		}
	}
}

// hear returns the next frame that reached an end, or "EOF".
func (x *talk) hear(at *plug) string {
	x.t.Helper()
	late := time.AfterFunc(30*time.Second, at.in.end)
	defer late.Stop()
	frame, err := at.Read()
	if err != nil {
		return "EOF"
	}
	return string(frame)
}

// hears checks which frames reach an end next.
func (x *talk) hears(at *plug, want ...string) {
	x.t.Helper()
	for _, w := range want {
		if got := x.hear(at); got != w {
			x.t.Fatalf("got  %s\nwant %s", got, w)
		}
	}
}

// pass lets a call through, up to the server.
func (x *talk) pass(frame string) {
	x.t.Helper()
	x.say(x.client, frame)
	x.hears(x.server, frame)
}

// serverHeardNoMore says that everything that the client has sent so far has been dealt with, and that the server did
// not get any of it: the next thing it hears is what the client sends now.
func (x *talk) serverHeardNoMore() {
	x.t.Helper()
	x.pass(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/test","params":{"now":%d}}`, time.Now().UnixNano()))
}

// clientHeardNoMore says the same of the client and what the server has sent.
func (x *talk) clientHeardNoMore() {
	x.t.Helper()
	mark := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/test","params":{"back":%d}}`, time.Now().UnixNano())
	x.say(x.server, mark)
	x.hears(x.client, mark)
}

// log returns what is recorded of all that was done so far.
func (x *talk) log() []event.Event {
	x.t.Helper()
	x.gate.Reopen("") // it comes after all that is queued
	return log(x.t, x.disk)
}

// logged returns the bodies of one kind.
func logged[B event.Body](x *talk) (out []B) {
	x.t.Helper()
	for _, e := range x.log() {
		if b, ok := e.Body.(B); ok {
			out = append(out, b)
		}
	}
	return out
}

// noted checks that the last signal has this name and a text with all of these words.
func (x *talk) noted(name string, words ...string) {
	x.t.Helper()
	signals := logged[*event.Signal](x)
	if len(signals) == 0 {
		x.t.Fatalf("no signal, want %s", name)
	}
	last := signals[len(signals)-1]
	for _, w := range words {
		if !strings.Contains(last.Text, w) {
			x.t.Errorf("%q does not say %q", last.Text, w)
		}
	}
	if last.Name != name || last.Source != "wire" || last.Server != support.Server || last.Link != support.Link {
		x.t.Errorf("%+v, want %s", last, name)
	}
}

// toolCall is a tools/call.
func toolCall(id, tool, args string) string {
	name, err := json.Marshal(tool)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%s,"arguments":%s}}`, id, name, args)
}

// result is an answer to a request.
func result(id, body string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, body)
}

const okResult = `{"content":[{"type":"text","text":"ok"}]}`

// denied checks that a frame is the denial of the call with this raw id, and returns its text and its verdict.
func denied(t testing.TB, frame, id string) (text string, verdict gjson.Result) {
	t.Helper()
	if !gjson.Valid(frame) || !strings.HasPrefix(frame, `{"jsonrpc":"2.0","id":`+id+`,"result":{`) || !gjson.Get(frame, "result.isError").Bool() {
		t.Fatalf("%s is no denial of %s", frame, id)
	}
	verdict = gjson.Get(frame, `result._meta.umpire/verdict`)
	if verdict.Get("action").Str != "deny" || gjson.Get(frame, "result.content.0.type").Str != "text" {
		t.Errorf("%s says %s", frame, verdict.Raw)
	}
	return gjson.Get(frame, "result.content.0.text").Str, verdict
}

// failed checks that a frame is an error with this raw id and code, and returns its message.
func failed(t testing.TB, frame, id string, code int) (message string) {
	t.Helper()
	if !gjson.Valid(frame) || !strings.HasPrefix(frame, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,`, id, code)) {
		t.Fatalf("%s is no error %d of %s", frame, code, id)
	}
	return gjson.Get(frame, "error.message").Str
}
