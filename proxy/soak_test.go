package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// TestSoak has 200 clients talk to servers through Umpire, all of which fail in every way they can: clients go away,
// cancel, send junk and use ids twice; servers hang, die, lie and cut; the disk fails; reviewers decide at the same time;
// policies change; Umpire is restarted. Whatever happens: nothing reaches a server that the log does not let through,
// no limit is exceeded by the log, each call has its verdict and its end once, replay and refolding agree with what was
// done, each request is answered once, and nothing is left behind.
//
// It takes three seconds, or as long as UMPIRE_SOAK says ("5m"). UMPIRE_SOAK_SEED draws what a former run drew, as far as
// the scheduler lets it.
func TestSoak(t *testing.T) {
	long := 3 * time.Second
	if text := os.Getenv("UMPIRE_SOAK"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("UMPIRE_SOAK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("UMPIRE_SOAK=%s UMPIRE_SOAK_SEED=%d", long, seed)
	newSoak(t, seed).run200(long)
}

// soak is a run: the world around Umpire, and Umpire.
type soak struct {
	*books
	seed     uint64
	dir      string
	server   *unreliable
	upstream *httptest.Server
	policies []*rules.Policy
	audit    *audit
	run      atomic.Pointer[run]
}

// run is Umpire from one start to the next.
type run struct {
	*soak
	db      *store.DB
	disk    *flaky
	gate    *proxy.Gate
	fronts  []*proxy.HTTP
	servers []*http.Server
	base    string // where it listens
	socket  string
	over    chan struct{} // closed when it begins to stop
	mu      sync.Mutex    // no shim is attached while over is closed
	pipes   sync.Map      // ends of shims
	serving sync.WaitGroup
}

func newSoak(t *testing.T, seed uint64) *soak {
	dir, err := os.MkdirTemp("", "u") // short, since it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	s := &soak{books: &books{t: t, dice: rand.New(rand.NewPCG(seed, 0))}, seed: seed, dir: dir}
	s.server = &unreliable{books: s.books}
	s.upstream = httptest.NewUnstartedServer(s.server)
	s.upstream.Config.ErrorLog = quiet()
	s.upstream.Start()
	t.Cleanup(s.upstream.Close)
	digests := map[string]limits{}
	for _, l := range []limits{some, fewer} {
		p := l.policy(t)
		digests[p.Digest()] = l
		s.policies = append(s.policies, p)
	}
	s.audit = newAudit(s.books, digests)
	return s
}

func (s *soak) path() string   { return filepath.Join(s.dir, "history.db") }
func (s *soak) url() string    { return s.run.Load().base }
func (s *soak) socket() string { return s.run.Load().socket }

// run200 lets 200 clients run for so long, in rounds that end with a restart.
func (s *soak) run200(long time.Duration) {
	t := s.t
	s.start()
	s.stop() // what a process allocates once is there now
	before, files := goleak.IgnoreCurrent(), descriptors()
	s.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wires := &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Second}
	var clients sync.WaitGroup
	for i := range 200 {
		c := &customer{soak: s, agent: fmt.Sprintf("agent%d", i%20), dice: rand.New(rand.NewPCG(s.seed, uint64(i+1))), client: &http.Client{Transport: wires}}
		if i%10 == 0 {
			clients.Go(func() { c.pipe(ctx) })
		} else {
			clients.Go(func() { c.buy(ctx) })
		}
	}
	for i := range 3 {
		clients.Go(func() { s.review(ctx, fmt.Sprint("local:reviewer", i), rand.New(rand.NewPCG(s.seed, uint64(1000+i)))) })
	}
	var heap []uint64
	round := min(max(long/12, time.Second), 20*time.Second)
	deadline := time.Now().Add(long)
	for diskFails := true; time.Now().Before(deadline) && s.sound(); diskFails = !diskFails {
		s.misfortunes(min(round, time.Until(deadline)), diskFails)
		s.recovers()
		heap = append(heap, inUse())
		s.stop()
		s.start()
	}
	cancel()
	clients.Wait()
	wires.CloseIdleConnections()
	s.stop()
	s.start() // says what became of that which could not be recorded
	s.stop()
	s.audit.finish()
	t.Logf("%s\n%d calls on record, denied or held by %v, ended as %v\nheap at the end of each round, in KiB: %v",
		s.totals(), s.audit.calls, s.audit.verdicts, s.audit.outcomes, heap)
	s.levels(heap)
	s.nothingLeft(before, files)
}

// misfortunes lets things happen for so long.
func (s *soak) misfortunes(long time.Duration, diskFails bool) {
	r := s.run.Load()
	next := 2
	for deadline := time.Now().Add(long); time.Now().Before(deadline) && s.sound(); next = s.draw(12) {
		time.Sleep(min(time.Until(deadline), time.Duration(s.draw(int(long/10)))))
		switch next {
		case 0, 1:
			r.gate.Load(s.policies[s.draw(len(s.policies))]) //nolint:errcheck // it fails while the disk does
		case 2:
			if diskFails {
				r.disk.fail(failure(1 + s.draw(3)))
			}
		}
		s.audit.read(r.db.Events)
	}
}

// recovers checks that Umpire still works: whatever has happened, a call that no rule is about passes, if not at once
// then after the second in which Umpire waits for a disk that has failed.
func (s *soak) recovers() {
	c := &customer{soak: s, agent: "probe", client: &http.Client{}}
	defer c.client.CloseIdleConnections()
	for deadline := time.Now().Add(endurance); s.sound(); time.Sleep(10 * time.Millisecond) {
		n, frame := c.frame("1", "probe", `"x":1`)
		if c.post(s.t.Context(), s.url()+"/shop/mcp", "1", n, frame); s.reachedServer(n) {
			return
		}
		if time.Now().After(deadline) {
			s.fault("nothing passes any more")
		}
	}
}

// sound reports whether nothing is wrong so far.
func (s *soak) sound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wrong == 0
}

// start starts Umpire over the history that there is.
func (s *soak) start() {
	t := s.t
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r := &run{soak: s, socket: filepath.Join(s.dir, fmt.Sprintf("s%d", s.draw(1<<30))), over: make(chan struct{})}
	r.db, err = store.Open(store.Config{Path: s.path()})
	must(err)
	r.disk = &flaky{Recorder: r.db, books: s.books, held: map[uint64]int{}}
	r.gate, err = proxy.NewGate(proxy.GateConfig{Recorder: r.disk, Policy: s.policies[s.draw(len(s.policies))], HoldFor: 200 * time.Millisecond})
	must(err)
	mux := http.NewServeMux()
	for _, name := range []string{"shop", "files"} {
		u, err := url.Parse(s.upstream.URL + "/" + name)
		must(err)
		front, err := proxy.NewHTTP(proxy.HTTPConfig{
			Server: name, URL: u, Judge: r.gate, Cleaner: cleaner(t), Guard: proxy.Guard{User: "alice"}, KeepAlive: 20 * time.Millisecond,
		})
		must(err)
		r.fronts = append(r.fronts, front)
		mux.Handle("/"+name+"/mcp", front)
	}
	pipes := &transport.Pipes{Serve: r.attach, Patience: time.Second}
	shims := http.NewServeMux()
	pipes.Register(shims)
	for handler, address := range map[http.Handler][2]string{mux: {"tcp", "127.0.0.1:0"}, shims: {"unix", r.socket}} {
		l, err := new(net.ListenConfig).Listen(t.Context(), address[0], address[1])
		must(err)
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: quiet()}
		r.servers = append(r.servers, server)
		if address[0] == "tcp" {
			r.base = "http://" + l.Addr().String()
		}
		r.serving.Go(func() { server.Serve(l) }) //nolint:errcheck // it ends when it is closed
	}
	s.run.Store(r)
}

// attach serves a shim, as the daemon does.
func (r *run) attach(hello transport.Hello, client, server io.ReadWriteCloser) {
	agent, _, _ := strings.Cut(hello.Process, "[")
	link := proxy.NewLink(proxy.LinkConfig{Judge: r.gate, Cleaner: cleaner(r.t), KeepAlive: 20 * time.Millisecond, Origin: proxy.Origin{
		Link: fmt.Sprintf("stdio:%s:%d", hello.Name, r.draw(1<<40)), Server: hello.Name, Transport: proxy.TransportStdio,
		Peer: event.Peer{Principal: "local:alice", Agent: agent, Process: hello.Process, Workspace: hello.Workspace},
	}})
	r.mu.Lock()
	if r.ending() {
		r.mu.Unlock()
		client.Close()
		server.Close()
		return
	}
	r.serving.Add(1)
	defer r.serving.Done()
	for _, c := range []io.ReadWriteCloser{client, server} {
		r.pipes.Store(c, nil)
		defer r.pipes.Delete(c)
	}
	r.mu.Unlock()
	link.Pump(transport.NewLines(client, wire.MaxSize), transport.NewLines(server, wire.MaxSize)) //nolint:errcheck // clients break off
}

// ending reports whether Umpire is being stopped.
func (r *run) ending() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// stop stops Umpire as the daemon stops, and checks what it has written.
func (s *soak) stop() {
	t, r := s.t, s.run.Load()
	r.mu.Lock()
	close(r.over)
	r.mu.Unlock()
	r.gate.Desk().Close("umpire is stopping")
	for _, server := range r.servers {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
		cancel()
	}
	r.pipes.Range(func(c, _ any) bool {
		c.(io.Closer).Close()
		return true
	})
	r.serving.Wait()
	for _, f := range r.fronts {
		f.Close()
	}
	r.gate.Close()
	if live, folded, whole := r.gate.Memory(); whole && live != folded {
		s.fault("what the gate knows is not what it has recorded:\n%s", differing(live, folded))
	} else if !r.disk.failed() && strings.Contains(live, "\nopen ") {
		s.fault("everybody has left, and these calls have no end:\n%s", live)
	}
	s.audit.read(r.db.Events)
	pruned, err := r.db.Pruned()
	if err != nil {
		t.Error(err)
	}
	report, err := replay.Verify(r.db.Events, pruned.At)
	if err != nil || report.Same != report.Verdicts {
		s.fault("replay: %+v %v", report, err)
	}
	floor := event.At(time.Now().Add(-2 * horizon))
	if _, err := r.db.Prune(store.Retention{Before: floor, Floor: floor}); err != nil {
		t.Error(err)
	}
	if pruned, err = r.db.Pruned(); err != nil {
		t.Error(err)
	}
	s.audit.forget(pruned.Seq)
	if err := r.db.Close(); err != nil {
		t.Error(err)
	}
	storetest.Check(t, s.path())
}

// differing returns the lines that only one of two texts has.
func differing(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, line := range x {
		if !slices.Contains(y, line) {
			out = append(out, "live:   "+line)
		}
	}
	for _, line := range y {
		if !slices.Contains(x, line) {
			out = append(out, "folded: "+line)
		}
	}
	return strings.Join(out, "\n")
}

// inUse returns how much of the heap is in use, in KiB.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 10
}

// levels checks that memory does not grow with time.
func (s *soak) levels(heap []uint64) {
	if third := len(heap) / 3; third > 0 {
		first, last := slices.Max(heap[:third]), slices.Min(heap[len(heap)-third:])
		if last > 2*first+16<<10 {
			s.fault("the heap grows, in KiB: %v", heap)
		}
	}
}

// nothingLeft checks that there is no goroutine, descriptor or file that was not there before.
func (s *soak) nothingLeft(goroutines goleak.Option, files int) {
	for deadline := time.Now().Add(10 * time.Second); descriptors() > files; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.fault("%d files are open, before there were %d", descriptors(), files)
			break
		}
	}
	goleak.VerifyNone(s.t, goroutines)
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 1 {
		s.fault("left behind: %v %v", left, err)
	}
}

// descriptors returns how many files this process has open, 0 where that cannot be told.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
