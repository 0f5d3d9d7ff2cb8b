package event

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What is written without reflection is what encoding/json writes: a field that one of them forgets shows.
func TestAppendWritesWhatEncodingJSONWrites(t *testing.T) {
	raw := rapid.SampledFrom([]json.RawMessage{nil, json.RawMessage(`{}`), json.RawMessage(`{"a":[1,"<&>"],"é":null}`)})
	rapid.Check(t, func(t *rapid.T) {
		e := Event{V: Version, Seq: rapid.Uint64().Draw(t, "seq"), At: Time(rapid.Int64().Draw(t, "at"))}
		e.Session, e.Cause = rapid.String().Draw(t, "session"), rapid.Uint64Max(3).Draw(t, "cause")
		action := rapid.SampledFrom([]Action{Deny, Hold, Log, Allow})
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			b := rapid.Make[Call]().Draw(t, "call")
			b.ID, b.Args = raw.Draw(t, "id"), raw.Draw(t, "args")
			e.Body = &b
		case 1:
			b := rapid.Make[Verdict]().Draw(t, "verdict")
			b.Action = action.Draw(t, "action")
			for i := range b.Also {
				b.Also[i].Action = action.Draw(t, "also")
			}
			e.Body = &b
		case 2:
			b := rapid.Make[Result]().Draw(t, "result")
			b.Content = raw.Draw(t, "content")
			e.Body = &b
		case 3:
			b := rapid.Make[Turn]().Draw(t, "turn")
			e.Body = &b
		}
		got, err := e.AppendJSON([]byte("before"))
		want, wantErr := e.appendAny([]byte("before"))
		if string(got) != string(want) || err != nil || wantErr != nil {
			t.Fatalf("wrote\n%s %v\nwant\n%s %v", got, err, want, wantErr)
		}
	})
}

func TestAnEventIsOneLine(t *testing.T) {
	e := Event{V: Version, Seq: 1, Body: &Call{ID: json.RawMessage("1"), Args: json.RawMessage("{\r\n\t\"a\": \"b\\n\"\n}"), Server: "a\nb"}}
	text, err := e.MarshalJSON()
	if err != nil || strings.ContainsAny(string(text), "\r\n") || !strings.Contains(string(text), `{"a":"b\n"}`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAppendRefusesWhatIsNoEvent(t *testing.T) {
	for _, e := range []Event{
		{V: Version, Seq: 1},
		{V: Version, Seq: 1, Body: &Verdict{Action: 99}},
		{V: Version, Seq: 1, Body: &Call{Args: json.RawMessage("{\n")}},
	} {
		if text, err := e.MarshalJSON(); err == nil {
			t.Errorf("%+v is written as %s", e.Body, text)
		}
	}
}

// BenchmarkAppend is one call with 1 KiB of arguments.
func BenchmarkAppend(b *testing.B) {
	e := Event{V: Version, Seq: 7, At: 1795000000123456789, Session: "s1", Body: &Call{
		Link: "http:billing:1234", Server: "billing", Tool: "issue_refund", ID: json.RawMessage("7"),
		Args: json.RawMessage(`{"note":"` + strings.Repeat("x", 1000) + `"}`), Peer: Peer{Principal: "local:alice", Agent: "bot"},
	}}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, _ = e.AppendJSON(buf[:0])
	}
}
