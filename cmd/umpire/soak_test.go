//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/proxy/review"
)

// TestSoakOfProcesses has clients of every transport talk to servers of every transport through processes that are
// killed at random moments: the daemon, umpire run, its children, those of the daemon, the server elsewhere, the clients,
// and the disk under the history. Whatever happens: no call reaches a server that the history does not let through, none
// reaches one twice, and none that its client was told is denied; each request is answered once, in time, or its connection
// ends; what a client was answered is recorded; the history is whole and replays to the same verdicts. Whenever the
// misfortunes end, every client gets on, and after a while nothing goes wrong any more; and when the clients have left,
// nothing is left of them, neither processes nor what the daemon kept of them.
//
// It takes seconds, with some clients, or as long as UMPIRE_SOAK says ("5m"), with 200. UMPIRE_SOAK_SEED draws the
// misfortunes of a former run again, as far as the scheduler lets it.
func TestSoakOfProcesses(t *testing.T) {
	long, crowd := 4*time.Second, map[string]int{"http": 16, "stdio": 4, "remote": 2, "ws": 2, "command": 2, "sse": 2}
	if text := os.Getenv("UMPIRE_SOAK"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		crowd = map[string]int{"http": 110, "stdio": 40, "remote": 10, "ws": 10, "command": 20, "sse": 10}
	} else {
		t.Parallel()
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("UMPIRE_SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("UMPIRE_SOAK=%s UMPIRE_SOAK_SEED=%d", long, seed)
	s := newSoak(t, seed)
	s.run(long, crowd)
}

// soak is the world around Umpire.
type soak struct {
	test *testing.T
	*site
	*books
	seed      uint64
	url       string // where the daemon listens
	upstream  *elsewhere
	notary    *notary
	log       *os.File // what daemons and shims say on stderr
	shims     sync.Map // *os.Process of umpire run
	clients   []*customer
	levels    []usage         // of the daemon, in calm
	full      int             // the process of the daemon that has a full disk; 0 is none
	recovered []time.Duration // how long it took until every client got on
}

const soakRules = `
servers:
  shop: {url: %q}
  tool: {command: [soak-server, %q, %q]}
rules:
  - {name: never, on: "*/never", do: deny}
  - {name: limited, on: "*/limited", rate: {max: 8, per: 1s}, do: deny}
  - {name: asked, on: "*/asked", do: hold}
`

const soakLimit = 8 // of the rule limited

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{test: t, books: newBooks(t, seed), seed: seed, site: newSite(t, "")}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.log, err = os.Create(filepath.Join(s.dir, "log"))
	must(err)
	t.Cleanup(func() { s.log.Close() })
	s.notary, err = newNotary(s.books, s.dir)
	must(err)
	s.upstream = &elsewhere{books: s.books, address: s.port()}
	must(s.upstream.up())
	t.Cleanup(s.upstream.down)
	listen := s.port()
	s.url = "http://" + listen
	write(t, s.config, "listen: "+listen+fmt.Sprintf(soakRules, s.upstream.url(), s.notary.Addr().String(), s.dir))
	return s
}

// port returns an address that stays free while nobody listens there: none that the system gives to those who connect.
func (s *soak) port() string {
	for range 1000 {
		address := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)) // not from the seed: others draw, too
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	s.t.Fatal("no port is free")
	return ""
}

func (s *soak) run(long time.Duration, crowd map[string]int) {
	fresh := s.fresh()
	ctx, leave := context.WithCancel(s.t.Context())
	defer leave()
	service := s.serve(ctx)
	var living, around sync.WaitGroup
	for kind, n := range crowd {
		for i := range n {
			c := &customer{soak: s, kind: fmt.Sprint(kind, i), dice: rand.New(rand.NewPCG(s.seed, uint64(len(s.clients)+1)))}
			s.clients = append(s.clients, c)
			live := func() { c.converse(ctx, s.dialer(kind)) }
			if kind == "http" {
				live = func() { c.post(ctx) }
			}
			living.Go(live)
		}
	}
	reviewing, dismiss := context.WithCancel(context.Background())
	for i := range 2 {
		around.Go(func() { s.review(reviewing, rand.New(rand.NewPCG(s.seed, uint64(1000+i)))) })
	}
	for deadline := time.Now().Add(long); time.Now().Before(deadline) && s.sound(); {
		s.storms(min(max(long/20, 1500*time.Millisecond), 10*time.Second))
		if s.clears(); !s.sound() {
			break
		}
		s.isCalm(min(max(long/50, 300*time.Millisecond), 3*time.Second))
	}
	leave()
	living.Wait()
	dismiss()
	around.Wait()
	<-service
	s.upstream.down()
	s.leavesNothing(fresh)
	s.notary.Close()
	s.notary.hearing.Wait()
	s.audit()
	s.t.Log(s.totals())
}

// dialer returns how clients of a kind connect.
func (s *soak) dialer(kind string) func(context.Context) (line, error) {
	switch kind {
	case "stdio":
		return func(context.Context) (line, error) {
			return s.start("--name", "peer", "--", "soak-server", s.notary.Addr().String(), s.dir)
		}
	case "remote":
		return func(context.Context) (line, error) {
			return s.start("--name", "far", "--url", s.upstream.url())
		}
	case "sse":
		return func(ctx context.Context) (line, error) { return s.dialEvents(ctx, s.url+"/shop/sse") }
	case "command":
		return func(ctx context.Context) (line, error) { return s.dialSocket(ctx, s.url+"/tool/ws") }
	}
	return func(ctx context.Context) (line, error) { return s.dialSocket(ctx, s.url+"/shop/ws") }
}

// serve keeps a daemon running, as the service manager of a system does, but takes its time, so that sometimes umpire run
// is first. The channel is closed when it has given up, after ctx is done; the daemon that runs then goes on.
func (s *soak) serve(ctx context.Context) (given <-chan struct{}) {
	out := make(chan struct{})
	dice := rand.New(rand.NewPCG(s.seed, 2000))
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			cmd := s.umpire("serve")
			cmd.Stdout, cmd.Stderr = s.log, s.log
			if err := cmd.Start(); err != nil {
				s.fault("the daemon cannot be started: %v", err)
				return
			}
			ended := make(chan struct{})
			go func() {
				cmd.Wait() // it may be killed, or find that another one is there
				close(ended)
			}()
			select {
			case <-ended:
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(time.Duration(dice.IntN(int(2500 * time.Millisecond)))):
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// dial returns the daemon's socket.
func (s *soak) dial() *history.Daemon { return history.Dial(filepath.Join(s.state, config.SocketFile)) }

// review is the life of a reviewer.
func (s *soak) review(ctx context.Context, dice *rand.Rand) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(dice.IntN(int(100 * time.Millisecond)))):
		}
		d := s.dial()
		held, _ := d.Held() // there may be no daemon
		for _, h := range held {
			if dice.IntN(4) == 0 {
				continue // leaves it to the other one
			}
			by := review.Decision{Approve: dice.IntN(2) == 0, Note: "soak"}
			if v, err := d.Decide(h.Call, by); err == nil && !by.Approve && v.Action.Passes() {
				s.fault("#%d is denied by a reviewer, and passes", h.Call)
			}
		}
		d.Close()
	}
}

// storms lets misfortunes happen for so long.
func (s *soak) storms(long time.Duration) {
	s.turns("a storm begins")
	deadline := time.Now().Add(long)
	daemons := time.Now().Add(time.Duration(s.draw(int(time.Second))))
	for time.Now().Before(deadline) && s.sound() {
		time.Sleep(min(time.Until(deadline), time.Duration(s.draw(int(300*time.Millisecond)))))
		if time.Now().After(daemons) {
			s.endsDaemon()
			daemons = time.Now().Add(300*time.Millisecond + time.Duration(s.draw(int(2*time.Second))))
		}
		switch s.draw(8) {
		case 0, 1:
			s.notary.kill()
		case 2, 3:
			s.killShim()
		case 4:
			s.misfortune("the server elsewhere is down", "")
			s.upstream.down()
		case 5, 6:
			if err := s.upstream.up(); err != nil {
				s.fault("the server elsewhere cannot come back: %v", err)
			}
		case 7:
			s.fillDisk(s.draw(2) == 0)
		}
	}
	s.fillDisk(false)
	if err := s.upstream.up(); err != nil {
		s.fault("the server elsewhere cannot come back: %v", err)
	}
}

// endsDaemon ends the daemon, one way or another.
func (s *soak) endsDaemon() {
	status, err := s.status()
	if err != nil {
		return // nobody is there
	}
	p, err := os.FindProcess(status.PID)
	if err != nil {
		return
	}
	defer p.Release()
	if s.draw(3) == 0 {
		s.misfortune("the daemon is stopped", "%d", status.PID)
		p.Signal(os.Interrupt)
		return
	}
	s.misfortune("the daemon is killed", "%d", status.PID)
	p.Kill()
}

func (s *soak) killShim() {
	s.shims.Range(func(p, _ any) bool {
		s.misfortune("a shim is killed", "%d", p.(*os.Process).Pid)
		p.(*os.Process).Kill()
		return false
	})
}

// clears ends when every client has got on since the misfortunes have ended.
func (s *soak) clears() {
	since, begin := s.turns("it clears up"), time.Now()
	for deadline := time.Now().Add(endurance); s.sound(); time.Sleep(5 * time.Millisecond) {
		var behind []string
		for _, c := range s.clients {
			if c.well.Load() < since {
				behind = append(behind, c.kind)
			}
		}
		if len(behind) == 0 {
			s.recovered = append(s.recovered, time.Since(begin).Truncate(time.Millisecond))
			return
		}
		if time.Now().After(deadline) {
			s.fault("the misfortunes have ended, and these clients do not get on: %v", behind)
		}
	}
}

// isCalm lets everything work for so long.
func (s *soak) isCalm(long time.Duration) {
	s.turns("it is calm")
	time.Sleep(long)
	if status, err := s.status(); err != nil {
		s.fault("nothing was wrong, and the daemon does not answer: %v", err)
	} else if u, ok := usageOf(status.PID); ok {
		s.levels = append(s.levels, u)
	}
}
