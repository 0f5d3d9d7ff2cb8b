package notify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate allows what is approved.
type gate struct{}

func (gate) Review(_ uint64, d review.Decision) (event.Verdict, error) {
	v := event.Verdict{Why: d.Who + " decided"}
	if d.Approve {
		v.Action = event.Allow
	}
	return v, nil
}

func (gate) Expire(_ uint64, why string) (event.Verdict, error) { return event.Verdict{Why: why}, nil }

func (gate) Propose(uint64, review.Decision) (review.Proposal, error) {
	return review.Proposal{}, errors.ErrUnsupported
}

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func endpoint(t testing.TB, to string) *notify.Endpoint {
	t.Helper()
	u, err := notify.ParseURL(to)
	if err != nil {
		if u, err = url.Parse(to); err != nil {
			t.Fatal(err)
		}
	}
	key, err := notify.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return &notify.Endpoint{URL: u, Secret: key}
}

func held(call uint64) review.Held {
	now := event.At(time.Now())
	return review.Held{
		Call: call, Session: "s2", Since: now, Expires: now.Add(5 * time.Minute), Principal: "local:ann", Agent: "support",
		Server: "billing", Tool: "issue_refund", Args: json.RawMessage(`{"amount":150}`), Rule: "large-refund", Why: "args.amount > 100", Policy: "d1",
	}
}

func park(t testing.TB, desk *review.Desk, call uint64) *review.Slot {
	t.Helper()
	slot, refused := desk.Park(held(call), time.Hour)
	if slot == nil {
		t.Fatal(refused)
	}
	slot.Recorded()
	return slot
}

// received is one webhook that somebody else's library has found to be authentic.
type received struct {
	id, kind string
	call     uint64
	body     string
}

// receiver answers as it is told, and keeps what it took.
type receiver struct {
	t      testing.TB
	answer func(n int, w http.ResponseWriter) // of the n-th attempt; nil takes it

	mu       sync.Mutex
	attempts int
	took     []received
	seen     []received
	told     chan received
}

func newReceiver(t testing.TB) *receiver {
	return &receiver{t: t, told: make(chan received, 10_000)}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender has given up
	}
	peer, err := standardwebhooks.NewWebhook(secret)
	if err == nil {
		err = peer.Verify(body, req.Header)
	}
	if err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s %v: %v", req.Method, req.Header, err)
	}
	if err := peer.Verify(append(body, ' '), req.Header); err == nil {
		r.t.Error("the signature is not of the body")
	}
	var m struct {
		Type string
		Data struct{ Call uint64 }
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Error(err)
	}
	got := received{req.Header.Get("Webhook-Id"), m.Type, m.Data.Call, string(body)}
	r.mu.Lock()
	r.attempts++
	n := r.attempts
	r.seen = append(r.seen, got)
	r.mu.Unlock()
	code := &recorder{ResponseWriter: w, code: http.StatusOK}
	if r.answer != nil {
		r.answer(n, code)
	}
	if code.code/100 == 2 {
		r.mu.Lock()
		r.took = append(r.took, got)
		r.mu.Unlock()
		r.told <- got
	}
}

type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (r *receiver) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []string{}
	for _, m := range r.took {
		out = append(out, fmt.Sprintf("%s %d", m.kind, m.call))
	}
	return out
}

// RoundTrip makes a receiver reachable without a network, in the time of a synctest bubble.
func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	done := make(chan *http.Response, 1)
	go func() {
		rec := httptest.NewRecorder()
		r.ServeHTTP(rec, req)
		done <- rec.Result()
	}()
	select {
	case resp := <-done:
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

var quiet = slog.New(slog.DiscardHandler)

// logs gives each line of the log to whoever waits for it.
type logs chan string

func (l logs) Write(text []byte) (int, error) {
	l <- string(text)
	return len(text), nil
}

// A webhook tells when a call is held and how the hold ended, over a real connection, and somebody else's library finds
// it authentic.
func TestAWebhookTellsOfAHoldAndOfItsEnd(t *testing.T) {
	r := newReceiver(t)
	server := httptest.NewServer(r)
	defer server.Close()
	desk := review.NewDesk(gate{})
	n := notify.Start(desk, notify.Config{Webhook: endpoint(t, server.URL+"/in?key=k"), Version: "v1", Log: quiet})
	park(t, desk, 41)
	first := <-r.told
	if _, err := desk.Decide(41, review.Decision{Who: "local:ann", Approve: true, Note: "she called"}); err != nil {
		t.Fatal(err)
	}
	second := <-r.told
	park(t, desk, 44)
	<-r.told
	desk.Close("umpire is stopping")
	n.Close() // what ended with the Desk is told
	if got, want := r.list(), []string{"call.held 41", "call.ended 41", "call.held 44", "call.ended 44"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if first.id == second.id {
		t.Error("two messages have one id")
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(first.body), &body); err != nil {
		t.Fatal(err)
	}
	// The data is what umpire review --json prints, with the version of the body.
	printed, err := json.Marshal(held(41))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(printed, &members); err != nil {
		t.Fatal(err)
	}
	data := body["data"].(map[string]any)
	for name := range members {
		if data[name] == nil {
			t.Errorf("%s is missing: %s", name, first.body)
		}
	}
	if len(data) != len(members)+1 || data["v"] != 1.0 || body["timestamp"] != data["since"] {
		t.Error(first.body)
	}
	if !strings.Contains(second.body, `"ended":{"at":"`) || !strings.Contains(second.body, `"how":"local:ann approved it","verdict":{"action":"allow"`) {
		t.Error(second.body)
	}
}

// An endpoint that fails is tried again, later each time, with the same id; what comes after waits its turn.
func TestAnEndpointThatFailsIsTriedAgainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		var at []time.Duration
		begun := time.Now()
		r.answer = func(n int, w http.ResponseWriter) {
			at = append(at, time.Since(begun))
			switch n {
			case 1, 2:
				w.WriteHeader(http.StatusBadGateway)
			case 3:
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}
		desk := review.NewDesk(gate{})
		n := notify.Start(desk, notify.Through(notify.Config{Webhook: endpoint(t, "https://example.com/in"), Log: quiet}, r))
		park(t, desk, 1).Leave("the client has gone")
		time.Sleep(2 * time.Second)
		if c := n.Channels(); len(c) != 1 || c[0].Name != "webhook to https://example.com" || c[0].Problem != "it answers 502 Bad Gateway" {
			t.Errorf("%+v", c)
		}
		<-r.told
		<-r.told
		synctest.Wait()
		if c := n.Channels(); c[0].Problem != "" {
			t.Errorf("%+v", c)
		}
		desk.Close("stopping")
		n.Close()
		if got, want := r.list(), []string{"call.held 1", "call.ended 1"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if r.seen[0].id != r.seen[3].id || r.seen[0].body != r.seen[3].body {
			t.Errorf("another attempt is another message: %v", r.seen)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 33 * time.Second, 33 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
	})
}

// An endpoint that never comes back costs bounded memory and attempts, and the Desk nothing.
func TestAnEndpointThatIsAwayLosesTheOldestAndTheDeskDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		var back atomic.Bool
		r.answer = func(_ int, w http.ResponseWriter) {
			if !back.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		log := make(logs, 100)
		desk := review.NewDesk(gate{})
		n := notify.Start(desk, notify.Through(notify.Config{
			Webhook: endpoint(t, "https://example.com/in/k3y"), Log: slog.New(slog.NewTextHandler(log, nil)),
		}, r))
		begun := time.Now()
		for i := range uint64(5_000) {
			park(t, desk, i+1).Leave("the client has gone")
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the Desk waited %s", waited)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		r.mu.Lock()
		attempts := r.attempts
		r.mu.Unlock()
		if attempts > 20 {
			t.Errorf("%d attempts in nine minutes", attempts)
		}
		back.Store(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		park(t, desk, 9_999)
		for m := range r.told {
			if m.call == 9_999 {
				break
			}
		}
		desk.Close("stopping")
		n.Close()
		close(log)
		var lines []string
		for l := range log {
			lines = append(lines, l)
			if strings.Contains(l, "k3y") {
				t.Errorf("the key in the URL is logged: %s", l)
			}
		}
		if len(lines) > 5 || !strings.Contains(strings.Join(lines, ""), "has missed messages") {
			t.Errorf("%d lines: %s", len(lines), lines)
		}
		if got := r.list(); len(got) > 4*review.MaxHeld+10 || got[len(got)-1] != "call.ended 9999" {
			t.Errorf("%d messages, the last %s", len(got), got[len(got)-1])
		}
	})
}

// An endpoint that takes connections and says nothing neither holds up the end of the daemon nor is waited for longer than ten
// seconds.
func TestAnEndpointThatSaysNothingHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		hang, stop := make(chan struct{}), make(chan struct{})
		r.answer = func(int, http.ResponseWriter) {
			select {
			case <-hang:
			case <-stop:
			}
		}
		desk := review.NewDesk(gate{})
		n := notify.Start(desk, notify.Through(notify.Config{Webhook: endpoint(t, "https://example.com/in"), Log: quiet}, r))
		park(t, desk, 1)
		time.Sleep(15 * time.Second)
		if c := n.Channels(); !strings.Contains(c[0].Problem, "deadline exceeded") {
			t.Errorf("%+v", c)
		}
		begun := time.Now()
		desk.Close("stopping")
		n.Close()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("the end took %s", took)
		}
		close(stop)
	})
}

// What an endpoint refuses is not sent again, and what it wants no more not at all.
func TestARefusalIsFinal(t *testing.T) {
	for code, want := range map[int]string{
		http.StatusBadRequest: "call.held 2 call.ended 2", http.StatusUnauthorized: "call.held 2 call.ended 2", http.StatusGone: "",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newReceiver(t)
			r.answer = func(n int, w http.ResponseWriter) {
				if n <= 2 {
					w.WriteHeader(code)
				}
			}
			desk := review.NewDesk(gate{})
			n := notify.Start(desk, notify.Through(notify.Config{Webhook: endpoint(t, "https://example.com/in"), Log: quiet}, r))
			park(t, desk, 1).Leave("gone")
			synctest.Wait()
			park(t, desk, 2).Leave("gone")
			time.Sleep(time.Hour)
			if got := strings.Join(r.list(), " "); got != want {
				t.Errorf("%d: %q, want %q", code, got, want)
			}
			desk.Close("stopping")
			n.Close()
		})
	}
}

// What is signed for one address goes nowhere else: no redirect is followed, and no server without a certificate that
// somebody vouches for gets anything.
func TestNobodyElseGetsTheMessage(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s arrived elsewhere", r.Method, r.URL) }))
	defer elsewhere.Close()
	for name, tc := range map[string]struct {
		start func(http.Handler) *httptest.Server
		does  http.HandlerFunc
		want  string
	}{
		"a redirect": {httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "it answers 307, and redirects are not followed"},
		"a certificate of its own": {httptest.NewTLSServer, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }, "certificate"},
	} {
		server := tc.start(tc.does)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		log := make(logs, 10)
		desk := review.NewDesk(gate{})
		n := notify.Start(desk, notify.Config{Webhook: endpoint(t, server.URL), Log: slog.New(slog.NewTextHandler(log, nil))})
		park(t, desk, 1)
		if line := <-log; !strings.Contains(line, tc.want) {
			t.Errorf("%s: %s", name, line)
		}
		desk.Close("stopping")
		n.Close()
		server.Close()
	}
}

// A round trip that fails with the whole URL in its error is logged without it.
func TestErrorsDoNotNameTheKeyInTheURL(t *testing.T) {
	log := make(logs, 10)
	desk := review.NewDesk(gate{})
	n := notify.Start(desk, notify.Through(notify.Config{Webhook: endpoint(t, "https://example.com/T0/B0/k3y?k=k3y"), Log: slog.New(slog.NewTextHandler(log, nil))}, broken{}))
	park(t, desk, 1)
	if line := <-log; strings.Contains(line, "k3y") || !strings.Contains(line, "the cable is cut") {
		t.Error(line)
	}
	desk.Close("stopping")
	n.Close()
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the cable is cut")
}
