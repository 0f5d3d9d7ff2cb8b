package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// books are what the soak knows of every call from the sides of its clients and its servers, and what went wrong when. A
// call is known by the number n among its arguments.
type books struct {
	t       testing.TB
	begin   time.Time
	weather atomic.Int64 // how often it has changed; see fair

	mu    sync.Mutex
	of    []fate // by n
	wrong int
	dice  *rand.Rand
	diary []string       // the last misfortunes
	count map[string]int // of each kind of misfortune, and of each kind of answer
}

// fate is what has become of a call, as clients and servers see it.
type fate struct {
	tool    string
	reached bool   // a server has it
	answer  answer // what its client has got
	text    string // of an error or a denial
	late    bool   // its client has waited in vain
	fair    bool   // from the question to the answer there was no misfortune
}

// answer is what a client got for a request.
type answer string

const (
	nothing answer = ""       // or nothing yet
	told    answer = "done"   // what the server says when it has done it
	denied  answer = "denied" // with a verdict
	failed  answer = "failed" // an error of JSON-RPC
)

func newBooks(t testing.TB, seed uint64) *books {
	b := &books{t: t, begin: time.Now(), dice: rand.New(rand.NewPCG(seed, 0)), count: map[string]int{}}
	b.weather.Store(storm - 1)
	return b
}

// draw returns a number below n.
func (b *books) draw(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dice.IntN(n)
}

// call returns the number of a new call.
func (b *books) call(tool string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of = append(b.of, fate{tool: tool})
	return len(b.of) - 1
}

// arrive notes that a server has a call. No server gets one twice, whole is whether it is as it was sent.
func (b *books) arrive(n int, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case n < 0 || n >= len(b.of):
		b.complain("call %d, which was never made, reached a server", n)
		return
	case b.of[n].reached:
		b.complain("call %d reached a server twice", n)
	case !whole:
		b.complain("call %d reached a server as something else than was sent", n)
	}
	b.of[n].reached = true
}

// answered notes what a client got for a call.
func (b *books) answered(n int, a answer, text string, fair bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count["answer: "+string(a)]++
	f := &b.of[n]
	f.answer, f.text, f.fair = a, text, fair
	switch {
	case !fair:
	case a == failed:
		b.complain("nothing was wrong, and call %d of %s got the error %s", n, f.tool, text)
	case a == denied && (f.tool == "free" || f.tool == "slow"):
		b.complain("nothing was wrong, and call %d of %s was denied: %s", n, f.tool, text)
	}
}

// late notes that a client has waited in vain for the answer to a request, perhaps call n.
func (b *books) late(client, id string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complain("client %s has waited in vain for the answer to %s, call %d", client, id, n)
	if n >= 0 {
		b.of[n].late = true
	}
}

// The soak has weathers, which follow each other: while it storms, misfortunes happen; while it clears up, they have ended
// and what they have done may still be felt; while it is fair, everything works.
const (
	storm = iota
	clearing
	calm
	weathers
)

// season returns the weather, as a number that grows.
func (b *books) season() int64 { return b.weather.Load() }

// fair reports whether it is calm, and has been since a season.
func (b *books) fair(since int64) bool { return since%weathers == calm && b.season() == since }

// misfortune notes that something is about to go wrong.
func (b *books) misfortune(kind, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count[kind]++
	b.write(kind + " " + fmt.Sprintf(format, args...))
}

// tally counts what is no misfortune.
func (b *books) tally(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count[what]++
}

// turns lets the weather change.
func (b *books) turns(news string) (season int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write(news)
	return b.weather.Add(1)
}

func (b *books) write(news string) {
	b.diary = append(b.diary, b.now()+" "+news)
	if len(b.diary) > 100 {
		b.diary = b.diary[1:]
	}
}

func (b *books) now() string { return time.Since(b.begin).Truncate(time.Millisecond).String() }

// fault reports a violation.
func (b *books) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complain(format, args...)
}

// complain reports the first violations, and what had happened before the first one; more of them say no more.
func (b *books) complain(format string, args ...any) {
	if b.wrong++; b.wrong > 20 {
		return
	}
	b.t.Errorf("%s %s", b.now(), fmt.Sprintf(format, args...))
	if b.wrong == 1 {
		b.t.Logf("before that:\n%s", strings.Join(b.diary, "\n"))
	}
}

// sound reports whether nothing is wrong so far.
func (b *books) sound() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrong == 0
}
