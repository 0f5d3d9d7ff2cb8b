//go:build unix

package transport

import "os"

// File returns the file behind a ledger.
func (l *Ledger) File() *os.File { return l.file }

// LedgerOf returns the ledger in mem.
func LedgerOf(mem []byte) (*Ledger, error) { return openLedger(nil, mem) }

// LedgerSize is how many bytes a ledger has.
const LedgerSize = ledgerSize

// Rest and Take are what Side does with the client's side of a ledger.
func (l *Ledger) Rest() (text []byte, cut, torn bool) { return l.rest(ofClient) }
func (l *Ledger) Take(n int) bool                     { return l.take(ofClient, n) }

// Add is what Side does with what has been read.
func (l *Ledger) Add(text []byte) {
	for len(text) > 0 {
		n := copy(l.Room(len(text)), text)
		if n == 0 {
			return
		}
		l.Came(n)
		text = text[n:]
	}
}

// Room and Came are what Side does before and after a read.
func (l *Ledger) Room(n int) []byte { return l.room(ofClient, n) }
func (l *Ledger) Came(n int)        { l.came(ofClient, n) }
