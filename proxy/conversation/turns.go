package conversation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// The bounds of a turn that is posted.
const (
	maxPost      = 8 << 20 // bytes of it
	maxPostCalls = 128
)

// Turns is POST /v1/turns: programs that are agents themselves tell what is said in their conversations.
type Turns struct {
	Ear *Ear
	// Principal says who sends a request, as proxy.Guard does.
	Principal func(w http.ResponseWriter, r *http.Request) (principal string, ok bool)
}

// posted is a turn that is posted.
type posted struct {
	agent, conversation, trace string
	piece                      Piece
}

// ServeHTTP implements http.Handler. What it answers is JSON: {"seq": 12} when the turn is on disk as event 12, {"seq": 0}
// when nothing was recorded because it was before or because nothing is kept, or {"error": "…"}.
func (t Turns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	principal, ok := t.Principal(w, r)
	if !ok || !byProgram(w, r) {
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		give(w, http.StatusMethodNotAllowed, errors.New("want POST"))
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		give(w, http.StatusUnsupportedMediaType, errors.New("want Content-Type: application/json"))
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPost))
	if err != nil {
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			give(w, http.StatusRequestEntityTooLarge, fmt.Errorf("a turn of more than %d MiB", maxPost>>20))
		}
		return // else nobody is left to tell
	}
	p, err := readPosted(raw)
	if err != nil {
		give(w, http.StatusBadRequest, err)
		return
	}
	peer := proxy.PeerOf(r, principal)
	if p.agent != "" {
		peer.Agent, peer.Client = p.agent, event.Client{Name: p.agent}
	}
	if p.conversation != "" {
		peer.Asserted = map[string]string{"sessionId": p.conversation}
	}
	talk := Talk{Source: "api", Peer: peer, ID: p.conversation, Trace: cmp.Or(p.trace, proxy.TraceOf(r.Header))}
	switch seq, err := t.Ear.Tell(talk, p.piece); {
	case errors.Is(err, ErrFlood):
		w.Header().Set("Retry-After", "1")
		give(w, http.StatusTooManyRequests, err)
	case err != nil:
		give(w, http.StatusServiceUnavailable, err)
	default:
		give(w, http.StatusOK, seq)
	}
}

// give answers with an error, or with the number of an event.
func give(w http.ResponseWriter, status int, what any) {
	answer := map[string]any{"seq": what}
	if err, failed := what.(error); failed {
		answer = map[string]any{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(answer) //nolint:errcheck,errchkjson // the client is gone, and nothing is left to do for it
}

// byProgram reports whether no page in a browser sends r: else a page could speak for the user. It answers such a page.
func byProgram(w http.ResponseWriter, r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		give(w, http.StatusForbidden, errors.New("a page in a browser cannot use this path"))
		return false
	}
	return true
}

var (
	postFields = []string{"conversation", "turn", "agent", "role", "trust", "text", "calls", "traceparent"}
	postRoles  = []string{string(event.RoleUser), string(event.RoleAssistant), string(event.RoleSystem), string(event.RoleTool)}
	postTrusts = []string{string(event.Trusted), string(event.Untrusted)}
)

// readPosted reads a turn strictly: a field that is misspelled would be a rule that does not see.
func readPosted(raw []byte) (p posted, err error) {
	if err := wire.Check(raw); err != nil {
		return p, err
	}
	doc := gjson.ParseBytes(raw)
	if !doc.IsObject() {
		return p, errors.New("want a JSON object")
	}
	p.piece.Trust = event.Trusted
	doc.ForEach(func(key, v gjson.Result) bool {
		switch name := key.String(); name {
		case "conversation":
			p.conversation, err = id(name, v)
		case "turn":
			p.piece.ID, err = id(name, v)
		case "agent":
			p.agent, err = id(name, v)
		case "role":
			var role string
			role, err = oneOf(name, v, postRoles)
			p.piece.Role = event.Role(role)
		case "trust":
			var trust string
			trust, err = oneOf(name, v, postTrusts)
			p.piece.Trust = event.Trust(trust)
		case "text":
			if p.piece.Text = v.String(); v.Type != gjson.String {
				err = errors.New("text: want a string")
			}
		case "calls":
			p.piece.Calls, err = ids(v)
		case "traceparent":
			if p.trace = proxy.TraceID(v.Str); v.Type != gjson.String || p.trace == "" {
				err = errors.New("traceparent: want a string such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			}
		default:
			err = fmt.Errorf("unknown field %.60q: want %s", name, strings.Join(postFields, ", "))
		}
		return err == nil
	})
	switch {
	case err != nil:
	case p.piece.Role == "":
		err = fmt.Errorf("role is missing: want %s", strings.Join(postRoles, ", "))
	case len(p.piece.Calls) > 0 && p.piece.Role != event.RoleAssistant && p.piece.Role != event.RoleTool:
		err = errors.New("calls: the assistant makes them and the tool answers them, nobody else")
	case p.piece.Text == "" && len(p.piece.Calls) == 0:
		err = errors.New("text is missing")
	}
	return p, err
}

// id reads what names something.
func id(name string, v gjson.Result) (string, error) {
	if s := v.String(); v.Type == gjson.String && s != "" && len(s) <= maxID {
		return strings.Clone(s), nil
	}
	return "", fmt.Errorf("%s: want a string of 1 to %d bytes", name, maxID)
}

func ids(v gjson.Result) (out []string, err error) {
	if !v.IsArray() {
		return nil, errors.New("calls: want a list of ids")
	}
	v.ForEach(func(_, call gjson.Result) bool {
		var s string
		s, err = id("calls", call)
		if out = append(out, s); len(out) > maxPostCalls {
			err = fmt.Errorf("calls: more than %d", maxPostCalls)
		}
		return err == nil
	})
	return out, err
}

func oneOf(name string, v gjson.Result, want []string) (string, error) {
	if s := v.String(); v.Type == gjson.String && slices.Contains(want, s) {
		return s, nil
	}
	return "", fmt.Errorf("%s: want %s", name, strings.Join(want, ", "))
}
