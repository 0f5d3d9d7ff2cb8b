//go:build unix

package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// Whatever is read and taken, the process that comes after finds what was read and not taken, to the byte, and the line
// that was in hand; of lines that are longer than the ledger it knows at least that their beginning is gone.
func TestALedgerGivesBackWhatWasNotTaken(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		mem := make([]byte, transport.LedgerSize)
		ledger, err := transport.LedgerOf(mem)
		if err != nil {
			t.Fatal(err)
		}
		var rest, hand []byte
		longest := []int{10, 3000, 100_000, 1_500_000}[seed%4]
		for step := range min(200, 30_000_000/longest) {
			whole := bytes.IndexByte(rest, '\n') + 1
			switch {
			case whole > 0 && rnd.IntN(3) > 0:
				ledger.Take(whole)
				hand, rest = bytes.Clone(rest[:whole]), rest[whole:]
				if rnd.IntN(2) == 0 {
					ledger.Noted()
					hand = nil
				}
			case rnd.IntN(10) == 0: // the process is killed, maybe right after a read, and another one comes
				if rnd.IntN(2) == 0 {
					text := bytes.Repeat([]byte{byte('A' + step%26)}, 1+rnd.IntN(longest))
					rest = append(rest, text[:copy(ledger.Room(len(text)), text)]...)
				}
				if ledger, err = transport.LedgerOf(mem); err != nil {
					t.Fatalf("seed %d, step %d: %v", seed, step, err)
				}
				got, cut, _ := ledger.Rest()
				if cut {
					if longest < 100_000 || !bytes.HasSuffix(rest, got) {
						t.Fatalf("seed %d, step %d: the beginning is lost of %d bytes, of which there are %d", seed, step, len(rest), len(got))
					}
					rest, hand = got, nil
				} else if inHand := ledger.InHand(); !bytes.Equal(got, rest) || inHand != nil && !bytes.Equal(inHand, hand) || inHand == nil && hand != nil && longest < 100_000 {
					t.Fatalf("seed %d, step %d: %d bytes and %d in hand, want %d and %d", seed, step, len(got), len(inHand), len(rest), len(hand))
				}
			default:
				text := bytes.Repeat([]byte{byte('a' + step%26)}, 1+rnd.IntN(longest))
				for range rnd.IntN(4) {
					text[rnd.IntN(len(text))] = '\n'
				}
				ledger.Add(text)
				rest = append(rest, text...)
			}
		}
	}
}

// What is owed is what was noted and not paid, however often, in whatever order, and by whichever process.
func TestALedgerKnowsWhatIsOwed(t *testing.T) {
	mem := make([]byte, transport.LedgerSize)
	rnd := rand.New(rand.NewPCG(1, 1))
	owed := map[int32]string{}
	var ledger *transport.Ledger
	for i := range 30_000 {
		if i%1000 == 0 {
			var err error
			if ledger, err = transport.LedgerOf(mem); err != nil {
				t.Fatal(err)
			}
			if got := maps.Collect(ledger.Owed()); !maps.Equal(got, owed) {
				t.Fatalf("%d are owed, want %d", len(got), len(owed))
			}
		}
		if len(owed) > 0 && rnd.IntN(1+i/6000) == 0 {
			slot := slices.Collect(maps.Keys(owed))[0]
			ledger.Paid(slot)
			ledger.Paid(slot) // twice is once
			delete(owed, slot)
			continue
		}
		id := fmt.Sprintf("%q", strings.Repeat("x", rnd.IntN(70))+fmt.Sprint(i))
		switch slot := ledger.Owe(id); {
		case slot < 0 && len(id) <= 60 && len(owed) < 4096:
			t.Fatalf("there is no room for %s beside %d", id, len(owed))
		case slot >= 0:
			if other, taken := owed[slot]; taken {
				t.Fatalf("%s takes the place of %s", id, other)
			}
			owed[slot] = id
		}
	}
}

// A shim that is older than its daemon has another kind of ledger.
func TestALedgerOfAnotherVersion(t *testing.T) {
	mem := make([]byte, transport.LedgerSize)
	for range 2 {
		if _, err := transport.LedgerOf(mem); err != nil {
			t.Fatal(err)
		}
	}
	mem[0]++
	if _, err := transport.LedgerOf(mem); !errors.Is(err, transport.ErrLedger) {
		t.Error(err)
	}
}

func TestALedgerKeepsTheGreeting(t *testing.T) {
	mem := make([]byte, transport.LedgerSize)
	for _, text := range []string{"", "hello", "a longer one", "short", strings.Repeat("x", 28<<10)} {
		ledger, err := transport.LedgerOf(mem)
		if err != nil {
			t.Fatal(err)
		}
		ledger.Greet([]byte(text))
		ledger.Greet(make([]byte, 1<<20)) // too long to be kept
		if again, err := transport.LedgerOf(mem); err != nil || string(again.Greeting()) != text {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}

// Without a ledger nothing is kept, and one that is closed keeps nothing more.
func TestNoLedger(t *testing.T) {
	closed, err := transport.NewLedger()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(closed.Close(), closed.Close()); err != nil {
		t.Error(err)
	}
	for _, l := range []*transport.Ledger{nil, closed} {
		l.Add([]byte("x\n"))
		l.Greet([]byte("x"))
		l.Noted()
		l.Paid(0)
		if slot := l.Owe("1"); slot >= 0 || l.Take(1) || len(maps.Collect(l.Owed())) > 0 || l.Greeting() != nil || l.InHand() != nil {
			t.Error("it keeps something")
		}
	}
}

// Attempt: end the daemon, and with it everybody's conversations, by writing to the memory that it shares with one shim.
func TestALedgerThatAnotherProcessWritesTo(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		mem := make([]byte, transport.LedgerSize)
		ledger, err := transport.LedgerOf(mem)
		if err != nil {
			t.Fatal(err)
		}
		scribble := func() {
			for range 60 {
				value := []uint64{0, 1, 1 << 20, 1<<20 + 1, 1 << 32, 1 << 62, 1 << 63, 1<<64 - 1, rnd.Uint64()}[rnd.IntN(9)]
				binary.LittleEndian.PutUint64(mem[8*rnd.IntN(20):], value)
				binary.LittleEndian.PutUint64(mem[32<<10+64*rnd.IntN(8):], value)
			}
		}
		for step := range 20 {
			for _, do := range []func(){
				func() { ledger.Add(bytes.Repeat([]byte("x"), rnd.IntN(70_000))) },
				func() { ledger.Take(rnd.IntN(100)) },
				ledger.Noted,
				func() { ledger.Paid(ledger.Owe(fmt.Sprint(step))) },
				func() { ledger.Owe(fmt.Sprint(step)) },
				func() { ledger.Greet([]byte("hello")) },
			} {
				scribble()
				do()
			}
			scribble()
			rest, _, _ := ledger.Rest()
			if got := len(rest) + len(ledger.InHand()) + len(ledger.Greeting()); got > 3<<20 {
				t.Fatalf("seed %d, step %d: %d bytes", seed, step, got)
			}
			for _, id := range ledger.Owed() {
				if len(id) > 60 {
					t.Errorf("seed %d, step %d: an id of %d bytes", seed, step, len(id))
				}
			}
		}
	}
}

// FuzzLedger: whatever another process has left in the memory, a ledger is refused or can be used.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{}, []byte("text\n"))
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<63), []byte("text\n"))
	f.Add(bytes.Repeat([]byte{0xff}, 200), []byte("\n"))
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 0}, 30), bytes.Repeat([]byte("x"), 2<<20))
	f.Fuzz(func(t *testing.T, head, text []byte) {
		mem := make([]byte, transport.LedgerSize)
		copy(mem[8:], head) // the version is this one
		copy(mem[32<<10:], head)
		ledger, err := transport.LedgerOf(mem)
		if err != nil {
			return
		}
		ledger.InHand()
		ledger.Rest()
		ledger.Greeting()
		for slot := range ledger.Owed() {
			ledger.Paid(slot)
		}
		if slot := ledger.Owe("1"); slot < 0 {
			t.Error("no room")
		}
		ledger.Add(text)
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			ledger.Take(i + 1)
		}
		ledger.Noted()
		ledger.Rest()
		if _, err := transport.LedgerOf(mem); err != nil {
			t.Errorf("it is none any more: %v", err)
		}
	})
}
