//go:build unix

package transport

import "os"

// File returns the file behind a ledger.
func (l *Ledger) File() *os.File { return l.file }

// LedgerOf returns the ledger in mem.
func LedgerOf(mem []byte) (*Ledger, error) { return openLedger(nil, mem) }

// LedgerSize is how many bytes a ledger has.
const LedgerSize = ledgerSize

// Add, Rest and Take are what Side does with the client's side of a ledger.
func (l *Ledger) Add(text []byte)                     { l.add(ofClient, text) }
func (l *Ledger) Rest() (text []byte, cut, torn bool) { return l.rest(ofClient) }
func (l *Ledger) Take(n int) bool                     { return l.take(ofClient, n) }
