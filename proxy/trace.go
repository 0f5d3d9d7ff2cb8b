package proxy

import (
	"net/http"
	"strings"

	"github.com/umpire-dev/umpire/proxy/wire"
)

// traceParent is where a trace is named (W3C Trace Context): in _meta of a message, and as a header.
const traceParent = "traceparent"

// TraceID returns the id of the trace that a traceparent names; empty if it is none, or not exactly of the form that W3C Trace
// Context gives it: what is malformed is ignored there, too.
func TraceID(parent string) string {
	const (
		first      = 55 // the length of version 00
		trace, end = 3, 35
		flags      = 53
	)
	if len(parent) < first || len(parent) > maxID || parent[2] != '-' || parent[end] != '-' || parent[flags-1] != '-' {
		return ""
	}
	version, id, span := parent[:2], parent[trace:end], parent[end+1:flags-1]
	switch {
	case !hexadecimal(version) || !hexadecimal(id) || !hexadecimal(span) || !hexadecimal(parent[flags:first]):
	case version == "ff", version == "00" && len(parent) > first, len(parent) > first && parent[first] != '-':
	case strings.Trim(id, "0") == "", strings.Trim(span, "0") == "":
	default:
		return strings.Clone(id)
	}
	return ""
}

// hexadecimal reports whether s is made of digits and the letters a to f.
func hexadecimal(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// TraceOf returns the id of the trace that the headers of a request name. It is the header of one request: several are none.
func TraceOf(h http.Header) string {
	if list := h.Values(traceParent); len(list) == 1 {
		return TraceID(strings.TrimSpace(list[0]))
	}
	return ""
}

// traced notes which trace the headers name with which a frame comes that is given to FromClient next, for those of its calls
// that name none themselves.
func (l *Link) traced(frame *wire.Frame, h http.Header) {
	id := TraceOf(h)
	if id == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range frame.Messages {
		if m := &frame.Messages[i]; m.IsCall() && len(l.traces) < maxWaiting {
			if l.traces == nil {
				l.traces = map[string]string{}
			}
			l.traces[wire.Key(m.ID)] = id
		}
	}
}

// untraced takes back what traced has noted: nobody gives the frame to FromClient.
func (l *Link) untraced(frame *wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range frame.Messages {
		if m := &frame.Messages[i]; m.IsCall() {
			l.trace(m, wire.Key(m.ID))
		}
	}
}

// trace returns the id of the trace that a call belongs to. l.mu is held.
func (l *Link) trace(m *wire.Message, key string) string {
	named := l.traces[key]
	if delete(l.traces, key); len(l.traces) == 0 {
		l.traces = nil
	}
	if id := TraceID(m.Meta(traceParent).Str); id != "" {
		return id
	}
	return named
}
