package view

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// screen is a terminal, as far as lines are concerned.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// drawn returns what was written since the last time.
func (s *screen) drawn() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

func TestProgressIsSaidAfterASecondAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		p := newProgress(&s)
		p.Begin("importing", 4<<20, Bytes)
		p.Done(1 << 20)
		time.Sleep(999 * time.Millisecond)
		if got := s.drawn(); got != "" {
			t.Errorf("too early: %q", got)
		}
		time.Sleep(2 * time.Millisecond)
		if got, want := s.drawn(), "\x1b[Kimporting: 25 % of 4096 KiB\r"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		time.Sleep(time.Second)
		if got := s.drawn(); got != "" {
			t.Errorf("nothing has changed: %q", got)
		}
		p.Done(8 << 20) // more than was expected
		time.Sleep(time.Second)
		p.Begin("checking", 0, nil)
		time.Sleep(time.Second)
		if got := s.drawn(); !strings.HasSuffix(got, "100 % of 4096 KiB\r\x1b[Kchecking …\r") {
			t.Errorf("%q", got)
		}
		p.Begin("", 0, nil)
		time.Sleep(time.Second)
		if got := s.drawn(); got != "\x1b[K\r" {
			t.Errorf("nothing is done, and it says %q", got)
		}
		p.Begin("checking", 0, nil)
		time.Sleep(time.Second)
		s.drawn()
		p.Close()
		if got := s.drawn(); got != "\x1b[K" {
			t.Errorf("%q stays", got)
		}
	})
}

func TestShortWorkHasNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s screen
		p := newProgress(&s)
		p.Begin("reading", 0, Bytes)
		time.Sleep(900 * time.Millisecond)
		p.Close()
		if got := s.drawn(); got != "" {
			t.Errorf("%q", got)
		}
	})
}

// Who is no terminal is not told, and whoever works need not know.
func TestWhatIsNoTerminalHasNoProgress(t *testing.T) {
	p := NewProgress(&screen{})
	if p != nil {
		t.Fatal("a buffer is a terminal")
	}
	p.Begin("reading", 1, Bytes)
	p.Done(1)
	p.Close()
}
