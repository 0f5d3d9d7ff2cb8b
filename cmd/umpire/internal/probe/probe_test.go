package probe

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server that says nothing, and does not end either, is left within the limits, with what it has started.
func TestNothingIsLeftOfAServerThatSaysNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked up in /proc")
	}
	file := filepath.Join(t.TempDir(), "pid")
	var text []byte
	for limit := 50 * time.Millisecond; len(text) == 0; limit *= 2 { // until sh is quick enough to start something
		_, err := Ask(t.Context(), Target{
			Command: []string{"sh", "-c", `trap "" TERM; sleep 1000 & echo $! >> "$0"; echo stuck >&2; wait; sleep 1000`, file},
		}, limit)
		if err == nil || !strings.Contains(err.Error(), "it said nothing for "+limit.String()) {
			t.Fatal(err)
		}
		if text, err = os.ReadFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for _, pid := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		if state, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(n), "cmdline")); err == nil && strings.Contains(string(state), "1000") {
			t.Errorf("process %d is still there", n)
		}
	}
}

func TestWhereProgramsAreLookedFor(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		if runtime.GOOS == "windows" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		t    Target
		want string
	}{
		"on the PATH of its entry":           {Target{Command: []string{"sh"}, Env: []string{"PATH=/none", "PATH=" + filepath.Dir(sh)}}, sh},
		"where it says":                      {Target{Command: []string{sh}}, sh},
		"below the directory of its entry":   {Target{Command: []string{"./" + filepath.Base(sh)}, Dir: filepath.Dir(sh)}, sh},
		"not here":                           {Target{Command: []string{"sh"}, Env: []string{"PATH=/none"}}, "there is no sh on PATH, which is /none"},
		"not in a directory that it runs in": {Target{Command: []string{"sh"}, Dir: filepath.Dir(sh), Env: []string{"PATH=."}}, "there is no sh on PATH"},
	} {
		got, err := Look(tc.t)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			got = err.Error()
		}
		if got != tc.want && !strings.Contains(got, tc.want) {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// A server that wants to know who asks is there, over whatever it speaks.
func TestAServerThatWantsAuthorizationIsThere(t *testing.T) {
	told := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	for _, transport := range []string{"http", "sse", "ws"} {
		_, err := Ask(t.Context(), Target{URL: server.URL, Transport: transport, Headers: map[string]string{"Authorization": "Bearer old"}}, 10*time.Second)
		if !errors.Is(err, ErrAuthorization) {
			t.Errorf("%s: %v", transport, err)
		}
		if got := <-told; got != "Bearer old" {
			t.Errorf("%s: it was told %q", transport, got)
		}
	}
}

// A server of HTTP+SSE is found where nothing says that it is one, and is not where the entry says that it is none.
func TestAServerOfHTTPAndSSEIsFoundOut(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "old"}, nil)
	server := httptest.NewServer(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil))
	defer server.Close()
	for transport, found := range map[string]bool{"": true, "sse": true, "http": false} {
		a, err := Ask(t.Context(), Target{URL: server.URL, Transport: transport}, 10*time.Second)
		if (err == nil) != found || found && a.Name != "old" {
			t.Errorf("%q: %v %v", transport, a, err)
		}
	}
}
