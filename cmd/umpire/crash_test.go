package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/store"
)

// witness is an MCP server that remembers every call that reached it. What it saw was released.
type witness struct {
	*httptest.Server
	mu    sync.Mutex
	seen  map[int]string // args.n -> tool
	twice []int
	heard func(n int) // called for each call, before it is answered
}

func newWitness(t *testing.T) *witness {
	w := &witness{seen: map[int]string{}}
	w.Server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.Close)
	return w
}

func (w *witness) serve(rw http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Params struct {
			Name      string
			Arguments struct{ N int }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	n := m.Params.Arguments.N
	w.mu.Lock()
	if _, again := w.seen[n]; again {
		w.twice = append(w.twice, n)
	}
	w.seen[n] = m.Params.Name
	heard := w.heard
	w.mu.Unlock()
	if heard != nil {
		heard(n)
	}
	rw.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.ID)
}

func (w *witness) onCall(f func(n int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = f
}

// ask makes the n-th call. An error says that there was no answer.
func ask(c *http.Client, url, tool string, n int) error {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"n":%d}}}`, n, tool, n)
	resp, err := c.Post(url+"/mcp", "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

const atMost = 25

const crashPolicy = `rules: [{name: few, on: "*/limited", rate: {max: 25, per: 1h}, do: deny}]`

// hazard is a daemon that is killed again and again, on one history.
type hazard struct {
	*testing.T
	witness *witness
	state   string
	policy  string
}

func newHazard(t *testing.T) *hazard {
	state, err := os.MkdirTemp("", "u") // short, since it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	h := &hazard{T: t, witness: newWitness(t), state: state, policy: filepath.Join(t.TempDir(), "policy.yaml")}
	if err := os.WriteFile(h.policy, []byte(crashPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hazard) start() *daemonProcess {
	h.Helper()
	var said bytes.Buffer
	p, err := launch(h.state, func(cmd *exec.Cmd) { cmd.Stderr = &said },
		"--listen", "127.0.0.1:0", "--upstream", h.witness.URL, "--name", "witness", "--policy", h.policy)
	if err != nil {
		h.Fatalf("%v\n%s", err, said.String())
	}
	h.Cleanup(p.kill)
	return p
}

// recorded is what the history says of a call.
type recorded struct {
	tool    string
	passed  bool
	results []event.Outcome
}

// settle starts the daemon once more, ends it in peace and reads the history: it has to be whole, to replay to the
// same verdicts, to know every call that the witness saw as one that passed, and to say how each of those ended.
func (h *hazard) settle() map[int]*recorded {
	h.Helper()
	if err := h.start().interrupt(); err != nil {
		h.Fatal(err)
	}
	db, err := store.Open(store.Config{Path: filepath.Join(h.state, config.HistoryFile), ReadOnly: true})
	if err != nil {
		h.Fatal(err)
	}
	defer db.Close()
	if err := db.Check(); err != nil {
		h.Error(err)
	}
	report, err := replay.Verify(db.Events, 0)
	if err != nil || report.Same != report.Verdicts {
		h.Errorf("replay: %+v %v", report, err)
	}
	calls := h.read(db)
	h.witness.mu.Lock()
	defer h.witness.mu.Unlock()
	if len(h.witness.twice) > 0 {
		h.Errorf("calls that were released twice: %v", h.witness.twice)
	}
	for n := range h.witness.seen {
		if c := calls[n]; c == nil || !c.passed {
			h.Errorf("call %d was released and is not recorded as passed: %+v", n, c)
		}
	}
	for n, c := range calls {
		switch {
		case c.passed && len(c.results) != 1:
			h.Errorf("call %d passed and has the results %v", n, c.results)
		case !c.passed && len(c.results) != 0:
			h.Errorf("call %d was denied and has the results %v", n, c.results)
		case c.passed && c.results[0] == event.OutcomeOK && h.witness.seen[n] == "":
			h.Errorf("call %d was never released and has a result", n)
		}
	}
	return calls
}

func (h *hazard) read(db *store.DB) map[int]*recorded {
	calls := map[int]*recorded{}
	bySeq := map[uint64]*recorded{}
	for e, err := range db.Events(1) {
		if err != nil {
			h.Fatal(err)
		}
		switch b := e.Body.(type) {
		case *event.Call:
			var args struct{ N int }
			if err := json.Unmarshal(b.Args, &args); err != nil {
				h.Fatal(err)
			}
			if calls[args.N] != nil {
				h.Errorf("call %d is recorded twice", args.N)
			}
			calls[args.N] = &recorded{tool: b.Tool}
			bySeq[e.Seq] = calls[args.N]
		case *event.Verdict:
			bySeq[e.Cause].passed = b.Action.Passes()
		case *event.Result:
			bySeq[e.Cause].results = append(bySeq[e.Cause].results, b.Outcome)
		case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Review, *event.Expired, *event.Signal, *event.Turn, *event.Closed:
		}
	}
	return calls
}

// Invariant 4: nothing is released before its record is committed. Sixteen clients call as fast as they can while the
// daemon is killed at a random moment, again and again. Whatever reached the server is in the history, with the verdict
// that let it pass; and a limit holds over all of the restarts, since what was released was counted before.
func TestAKilledDaemonHasRecordedAllThatItReleased(t *testing.T) {
	h := newHazard(t)
	var n atomic.Int64
	const rounds = 6
	for round := range rounds {
		p := h.start()
		moment := int64(1 + rand.IntN(200)) // the calls that this round may live for
		fatal := make(chan struct{})
		var heard atomic.Int64
		h.witness.onCall(func(int) {
			if heard.Add(1) == moment {
				close(fatal)
			}
		})
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
				defer c.CloseIdleConnections()
				for {
					i := int(n.Add(1))
					tool := "free"
					if i%4 == 0 {
						tool = "limited"
					}
					if ask(c, p.url, tool, i) != nil {
						return // it is dead
					}
				}
			})
		}
		select {
		case <-fatal:
		case <-time.After(patience):
			t.Errorf("round %d: the server heard %d of %d calls", round, heard.Load(), moment)
		}
		p.kill()
		clients.Wait()
		h.witness.onCall(nil)
	}
	calls := h.settle()
	passed, asked, lost := 0, 0, 0
	for _, c := range calls {
		if c.tool == "limited" {
			asked++
			if c.passed {
				passed++
			}
		}
		if c.passed && c.results[0] == event.OutcomeLost {
			lost++
		}
	}
	if passed != min(atMost, asked) {
		t.Errorf("%d of %d limited calls passed, the limit is %d", passed, asked, atMost)
	}
	t.Logf("%d calls recorded, %d lost in %d crashes, %d of %d limited ones passed", len(calls), lost, rounds, passed, asked)
	if out, err := exec.Command("umpire", "--state", h.state, "replay", "--verify").CombinedOutput(); err != nil {
		t.Errorf("umpire replay --verify: %v\n%s", err, out)
	}
}

// Invariant 4, the moment after: the server has the call, and the daemon dies before it has the answer. The call is
// recorded as passed, and after the restart as lost: whether the tool ran is not known.
func TestACallThatWasReleasedAndNotAnsweredIsLost(t *testing.T) {
	h := newHazard(t)
	for n := range 3 {
		p := h.start()
		h.witness.onCall(func(int) { p.kill() })
		c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
		if err := ask(c, p.url, "free", n); err == nil {
			t.Error("a dead daemon answered")
		}
		c.CloseIdleConnections()
	}
	h.witness.onCall(nil)
	calls := h.settle()
	for n := range 3 {
		if c := calls[n]; c == nil || !c.passed || c.results[0] != event.OutcomeLost {
			t.Errorf("call %d: %+v", n, c)
		}
	}
}

// Invariant 4, the moment before: the daemon dies as soon as the record is committed, while the call is being released.
// Whether the server hears of it or not, the history has it.
func TestACallThatIsCommittedIsKeptWhetherOrNotItWasReleased(t *testing.T) {
	h := newHazard(t)
	const rounds = 4
	for n := range rounds {
		p := h.start()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer c.CloseIdleConnections()
			ask(c, p.url, "free", n) //nolint:errcheck // there may be an answer or not
		}()
		d := history.Dial(filepath.Join(h.state, config.SocketFile))
		for e, err := range history.Watch(d, nil, 1) {
			if err != nil {
				t.Error(err)
				break
			}
			if call, ok := e.Body.(*event.Call); ok && string(call.Args) == fmt.Sprintf(`{"n":%d}`, n) {
				p.kill()
				break
			}
		}
		d.Close()
		<-answered
	}
	calls := h.settle()
	for n := range rounds {
		if c := calls[n]; c == nil || !c.passed {
			t.Errorf("call %d was committed and is gone: %+v", n, c)
		}
	}
}

// An interrupt ends the daemon even while a server does not answer. The call is recorded as lost, not as denied.
func TestAnInterruptDoesNotWaitForAnAnswer(t *testing.T) {
	h := newHazard(t)
	p := h.start()
	heard, answer, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	h.witness.onCall(func(int) {
		close(heard)
		<-answer
	})
	go func() {
		defer close(done)
		c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
		defer c.CloseIdleConnections()
		ask(c, p.url, "free", 1) //nolint:errcheck // there may be an answer or not
	}()
	<-heard
	if err := p.interrupt(); err != nil {
		t.Error(err)
	}
	close(answer)
	<-done
	h.witness.onCall(nil)
	if c := h.settle()[1]; c == nil || !c.passed || c.results[0] != event.OutcomeLost {
		t.Errorf("%+v", c)
	}
}
