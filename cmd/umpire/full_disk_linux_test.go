package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A limit on the size of files is to the daemon what a full disk is: it denies with the reason, and goes on when there is
// room again.
func TestADaemonOutlastsALimitOnTheSizeOfFiles(t *testing.T) {
	h := newHazard(t)
	p := h.start()
	c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer c.CloseIdleConnections()
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(p.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	said := func(id string) string {
		t.Helper()
		resp, err := c.Post(p.url+"/mcp", "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":`+id+`,"method":"tools/call","params":{"name":"free","arguments":{"n":`+id+`}}}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	limit(4096)
	for _, id := range []string{"1", "2"} {
		if got := said(id); !strings.Contains(got, "file too large") {
			t.Errorf("without room: %s", got)
		}
	}
	limit(unix.RLIM_INFINITY)
	next := 3
	eventually(t, "a call to pass", func() string {
		got := said(strconv.Itoa(next))
		if next++; strings.Contains(got, `"content":[]`) {
			return ""
		}
		return got
	})
	if err := p.interrupt(); err != nil {
		t.Error(err)
	}
	h.settle()
}
