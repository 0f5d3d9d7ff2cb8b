// Package event is the one vocabulary of Umpire: everything that happened, in the order in which it was judged.
//
// The same Event is produced by live traffic, stored, replayed, exported and shown. Nothing influences a verdict
// unless it is an Event first. The package uses the standard library alone and knows no clock, file or network.
package event

import (
	"fmt"
	"time"
)

// Version is the version of the JSON form that this package writes. The form grows by new fields only; a reader
// ignores fields that it does not know and refuses events of a later version.
const Version = 1

// Event is the only record. Seq and At are stamped once, when the event enters the log.
type Event struct {
	V       int    // version of the JSON form, see Version
	Seq     uint64 // position in the log: 1, 2, 3 … without gaps until retention removes events
	At      Time   // when it was judged or seen; never less than that of the event before
	Session string // the session it belongs to ("s12"); empty for events of the whole installation
	Cause   uint64 // Seq of the event that led to this one (the Call of a Verdict or Result), 0 if none
	Body    Body

	// Read is what was found out about Body before the event was made; nil if nothing was. It is not stored, and nothing
	// depends on it but the time that Apply takes.
	Read any
}

// Time is an instant in nanoseconds since the Unix epoch, UTC.
type Time int64

// At converts t; instants outside the years 1678 to 2262 are not representable.
func At(t time.Time) Time { return Time(t.UnixNano()) }

// Time returns t as a time.Time in UTC.
func (t Time) Time() time.Time { return time.Unix(0, int64(t)).UTC() }

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// String formats t as RFC 3339 with nanoseconds, in UTC.
func (t Time) String() string { return t.Time().Format(time.RFC3339Nano) }

// MarshalText implements encoding.TextMarshaler with the form of String.
func (t Time) MarshalText() ([]byte, error) { return t.Time().AppendFormat(nil, time.RFC3339Nano), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it accepts RFC 3339 from the years 1678 to 2262.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fmt.Errorf("event: time %q is not RFC 3339", text)
	}
	if at := At(parsed); at.Time().Equal(parsed) {
		*t = at
		return nil
	}
	return fmt.Errorf("event: time %q is out of range", text)
}

// Action is what is done with a call. The zero Action denies.
type Action uint8

// The actions, strictest first.
const (
	Deny  Action = iota // the call does not reach the server
	Hold                // the call waits until a person decides
	Log                 // the call passes and the verdict is worth a look
	Allow               // the call passes
)

var actionNames = [...]string{Deny: "deny", Hold: "hold", Log: "log", Allow: "allow"}

// Passes reports whether a call with this action reaches its server.
func (a Action) Passes() bool { return a == Log || a == Allow }

// String returns the name used in policies and on disk.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText implements encoding.TextMarshaler.
func (a Action) MarshalText() ([]byte, error) {
	if int(a) >= len(actionNames) {
		return nil, fmt.Errorf("event: no action %d", uint8(a))
	}
	return []byte(actionNames[a]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Action) UnmarshalText(text []byte) error {
	for i, name := range actionNames {
		if name == string(text) {
			*a = Action(i)
			return nil
		}
	}
	return fmt.Errorf("event: unknown action %q", text)
}
