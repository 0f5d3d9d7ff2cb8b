package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// record is the JSON form of an Event. The body stands under its kind, so that {"seq":7,"call":{…}} explains itself.
type record struct {
	V       int    `json:"v"`
	Seq     uint64 `json:"seq"`
	At      Time   `json:"at"`
	Session string `json:"session,omitempty"`
	Cause   uint64 `json:"cause,omitempty"`

	Opened    *Opened    `json:"opened,omitempty"`
	Loaded    *Loaded    `json:"loaded,omitempty"`
	Catalog   *Catalog   `json:"catalog,omitempty"`
	Accepted  *Accepted  `json:"accepted,omitempty"`
	Promoted  *Promoted  `json:"promoted,omitempty"`
	Exception *Exception `json:"exception,omitempty"`
	Revoked   *Revoked   `json:"revoked,omitempty"`
	Call      *Call      `json:"call,omitempty"`
	Verdict   *Verdict   `json:"verdict,omitempty"`
	Review    *Review    `json:"review,omitempty"`
	Expired   *Expired   `json:"expired,omitempty"`
	Result    *Result    `json:"result,omitempty"`
	Signal    *Signal    `json:"signal,omitempty"`
	Turn      *Turn      `json:"turn,omitempty"`
	Closed    *Closed    `json:"closed,omitempty"`
}

// ErrBody says that an event has no body of a known kind, or more than one.
var ErrBody = errors.New("event: want exactly one body of a known kind")

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil) }

// appendAny appends the JSON form of any event.
func (e Event) appendAny(dst []byte) ([]byte, error) {
	r := record{V: e.V, Seq: e.Seq, At: e.At, Session: e.Session, Cause: e.Cause}
	switch b := e.Body.(type) {
	case *Opened:
		r.Opened = b
	case *Loaded:
		r.Loaded = b
	case *Catalog:
		r.Catalog = b
	case *Accepted:
		r.Accepted = b
	case *Promoted:
		r.Promoted = b
	case *Exception:
		r.Exception = b
	case *Revoked:
		r.Revoked = b
	case *Call:
		r.Call = b
	case *Verdict:
		r.Verdict = b
	case *Review:
		r.Review = b
	case *Expired:
		r.Expired = b
	case *Result:
		r.Result = b
	case *Signal:
		r.Signal = b
	case *Turn:
		r.Turn = b
	case *Closed:
		r.Closed = b
	default:
		return nil, ErrBody
	}
	text, err := marshal(r)
	return append(dst, text...), err
}

// marshal leaves <, > and & in the client's own arguments as they are, unlike json.Marshal.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON implements json.Unmarshaler. It refuses later versions and bodies that it does not know.
func (e *Event) UnmarshalJSON(data []byte) error {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if r.V < 1 || r.V > Version {
		return fmt.Errorf("event: version %d of event %d is not one of 1 to %d; it was written by another umpire", r.V, r.Seq, Version)
	}
	body, err := r.body()
	if err != nil {
		return err
	}
	*e = Event{V: r.V, Seq: r.Seq, At: r.At, Session: r.Session, Cause: r.Cause, Body: body}
	return nil
}

func (r *record) body() (body Body, err error) {
	n := 0
	set := func(b Body, present bool) {
		if present {
			body = b
			n++
		}
	}
	set(r.Opened, r.Opened != nil)
	set(r.Loaded, r.Loaded != nil)
	set(r.Catalog, r.Catalog != nil)
	set(r.Accepted, r.Accepted != nil)
	set(r.Promoted, r.Promoted != nil)
	set(r.Exception, r.Exception != nil)
	set(r.Revoked, r.Revoked != nil)
	set(r.Call, r.Call != nil)
	set(r.Verdict, r.Verdict != nil)
	set(r.Review, r.Review != nil)
	set(r.Expired, r.Expired != nil)
	set(r.Result, r.Result != nil)
	set(r.Signal, r.Signal != nil)
	set(r.Turn, r.Turn != nil)
	set(r.Closed, r.Closed != nil)
	if n != 1 {
		return nil, fmt.Errorf("%w: event %d", ErrBody, r.Seq)
	}
	return body, nil
}
