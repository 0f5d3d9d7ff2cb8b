package wire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// MetaClientCapabilities is the key of params._meta under which a request of the revision 2026-07-28 says what its client
// can do.
const MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"

// OffersForms reports whether a client with these capabilities shows its user a form that it is sent. An elicitation that
// says nothing more means forms: before 2025-11-25 there was nothing else.
func OffersForms(capabilities gjson.Result) bool {
	e := capabilities.Get("elicitation")
	return e.IsObject() && (e.Get("form").IsObject() || !e.Get("url").Exists())
}

// Elicitation is a question to the user of a client: what an elicitation/create asks for, in form mode, which is the mode
// where none is named.
type Elicitation struct {
	Message string          `json:"message"`
	Schema  json.RawMessage `json:"requestedSchema"`
}

const methodElicit = "elicitation/create"

// Elicit returns the request that asks the client's user.
func Elicit(id string, e Elicitation) []byte {
	return marshal(struct {
		JSONRPC string      `json:"jsonrpc"`
		ID      string      `json:"id"`
		Method  string      `json:"method"`
		Params  Elicitation `json:"params"`
	}{"2.0", id, methodElicit, e})
}

// InputRequired returns the answer to a request that asks the client's user first (MCP 2026-07-28): the client makes the
// request again, with the answer under key and with state.
func InputRequired(rawID, key, state string, e Elicitation) []byte {
	type input struct {
		Method string      `json:"method"`
		Params Elicitation `json:"params"`
	}
	return marshal(reply{JSONRPC: "2.0", ID: id(rawID), Result: struct {
		ResultType string           `json:"resultType"`
		Inputs     map[string]input `json:"inputRequests"`
		State      string           `json:"requestState"`
	}{"input_required", map[string]input{key: {methodElicit, e}}, state}})
}

// Cancelled returns the notification that a request, whose id is JSON as it stands, is no longer to be answered.
func Cancelled(rawID, reason string) []byte {
	type params struct {
		ID     json.RawMessage `json:"requestId"`
		Reason string          `json:"reason"`
	}
	return marshal(struct {
		JSONRPC string `json:"jsonrpc"`
		Method  string `json:"method"`
		Params  params `json:"params"`
	}{"2.0", "notifications/cancelled", params{json.RawMessage(rawID), reason}})
}

// Input is what a tools/call has besides the tool and its arguments, if it continues one that was answered with a question:
// the values of requestState and inputResponses as they stand, empty where there is none.
type Input struct{ State, Responses string }

// Input returns that of m, as it stands.
func (m *Message) Input() Input { return Input{m.members.state, m.members.inputs} }

// WithInput returns the tools/call m with in, and no other, in the place of its own. Every other byte of the message stays. The
// error is an *Error.
func WithInput(m *Message, in Input) (*Message, error) {
	object := member(gjson.ParseBytes(m.Raw), "params")
	var spans []memberSpan
	object.ForEach(func(key, value gjson.Result) bool {
		own := key.Str == "requestState" || key.Str == "inputResponses"
		spans = append(spans, memberSpan{from: key.Index, to: value.Index + len(value.Raw), drop: own})
		return true
	})
	raw := cut(m.Raw, spans)
	var added string // a tools/call always has a name behind it
	if in.State != "" {
		added = `"requestState":` + in.State + ","
	}
	if in.Responses != "" {
		added += `"inputResponses":` + in.Responses + ","
	}
	raw = slices.Insert(raw, object.Index+1, []byte(added)...)
	frame, err := Parse(raw, FromClient)
	if err != nil {
		return nil, err
	}
	return &frame.Messages[0], nil
}

// Visible returns text on one line, without a character that is not seen or that shows text in another order: each of
// them is written as a JSON string writes it. JSON stays the JSON that it is, unless there are spaces of such a kind
// between its values.
func Visible(text string) string {
	if seen(text) && !strings.ContainsAny(text, "\n\r\t") {
		return text
	}
	var out strings.Builder
	runes := []rune(text)
	for i, r := range runes {
		var before, after rune
		if i > 0 {
			before = runes[i-1]
		}
		if i+1 < len(runes) {
			after = runes[i+1]
		}
		switch {
		case r != '\n' && r != '\r' && r != '\t' && !conceals(before, r, after):
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
