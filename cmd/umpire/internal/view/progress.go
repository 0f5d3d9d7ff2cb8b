package view

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charmbracelet/x/term"
)

// Progress says how far long work is: on a terminal, in one line that is written over, and not before it has taken a second.
// Whoever does the work may call its methods from anywhere. A nil Progress says nothing.
type Progress struct {
	done  atomic.Int64
	stop  chan struct{}
	ended chan struct{}

	mu    sync.Mutex
	what  string
	total int64
	unit  func(int64) string
}

const (
	progressAfter = time.Second
	progressEvery = 100 * time.Millisecond
)

// NewProgress begins to say on out how far the work is, if out is a terminal; else it returns nil. Close ends it.
func NewProgress(out io.Writer) *Progress {
	if !Terminal(out) {
		return nil
	}
	return newProgress(out)
}

func newProgress(out io.Writer) *Progress {
	p := &Progress{stop: make(chan struct{}), ended: make(chan struct{})}
	go p.show(out)
	return p
}

// Terminal reports whether out is one.
func Terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// Begin says what is done now, empty if nothing is, and how much of it there is, 0 if nobody knows. The unit formats how much was
// done; nil is for what is not counted.
func (p *Progress) Begin(what string, total int64, unit func(int64) string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.total, p.unit = what, total, unit
	p.done.Store(0)
}

// Done says that n more were done.
func (p *Progress) Done(n int) {
	if p != nil {
		p.done.Add(int64(n))
	}
}

// Close takes the line away.
func (p *Progress) Close() {
	if p != nil {
		close(p.stop)
		<-p.ended
	}
}

// show draws the line until the work ends. The cursor stays in front of it: what is printed then is written over it.
func (p *Progress) show(out io.Writer) {
	defer close(p.ended)
	wait := time.NewTimer(progressAfter)
	defer wait.Stop()
	drawn := ""
	for {
		select {
		case <-p.stop:
			if drawn != "" {
				fmt.Fprint(out, clearLine) //nolint:errcheck // whoever cannot be told is not told
			}
			return
		case <-wait.C:
			if line := p.line(); line != drawn {
				fmt.Fprint(out, clearLine+line+"\r") //nolint:errcheck // likewise
				drawn = line
			}
			wait.Reset(progressEvery)
		}
	}
}

// clearLine takes away what stands behind the cursor in its line.
const clearLine = "\x1b[K"

func (p *Progress) line() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.done.Load()
	switch {
	case p.what == "":
		return ""
	case p.unit == nil:
		return p.what + " …"
	case p.total <= 0:
		return fmt.Sprintf("%s: %s", p.what, p.unit(done))
	}
	done = min(done, p.total)
	return fmt.Sprintf("%s: %d %% of %s", p.what, int64(float64(done)/float64(p.total)*100), p.unit(p.total))
}

// Bytes formats a size.
func Bytes(n int64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d GiB", n>>30)
}
