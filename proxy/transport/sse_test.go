package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// events reads all events of a stream, and the error that ends it.
func events(r io.Reader, limit int) (out []transport.Event, err error) {
	s := transport.NewEvents(r, limit)
	for {
		e, err := s.Next()
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
}

// tell writes an event for a comparison: type, data and whether it has an id.
func tell(e transport.Event) string {
	text := fmt.Sprintf("%s %q", e.Type, e.Data)
	if e.Data == nil {
		text = e.Type + " -"
	}
	if e.ID {
		text += " id"
	}
	return text
}

func TestEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
		err  error
	}{
		"nothing":                        {"", nil, io.EOF},
		"a message":                      {"data: {}\n\n", []string{`message "{}"`}, io.EOF},
		"a type":                         {"event: ping\ndata: x\n\n", []string{`ping "x"`}, io.EOF},
		"the last type counts":           {"event: ping\nevent: message\ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"an empty type is a message":     {"event:\ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"an empty type, with space":      {"event: \ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"a type without colon":           {"event\ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"an empty type after another":    {"event: ping\nevent:\ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"the next event has its own":     {"event: ping\ndata: x\n\ndata: y\n\n", []string{`ping "x"`, `message "y"`}, io.EOF},
		"an id":                          {"id: 7\ndata: x\n\n", []string{`message "x" id`}, io.EOF},
		"an id alone":                    {"id: 7\ndata:\n\n", []string{`message "" id`}, io.EOF},
		"an empty id resumes nothing":    {"id\ndata: x\n\nid: 7\nid:\n\n", []string{`message "x"`, "message -"}, io.EOF},
		"an id with a zero byte is none": {"id: a\x00b\ndata: x\n\n", []string{`message "x"`}, io.EOF},
		"one space is dropped":           {"data:x\n\ndata:  x \n\n", []string{`message "x"`, `message " x "`}, io.EOF},
		"colons in the value":            {"data: a:b: c\n\n", []string{`message "a:b: c"`}, io.EOF},
		"several lines of data":          {"data: a\ndata: b\ndata\ndata:c\n\n", []string{`message "a\nb\n\nc"`}, io.EOF},
		"lines of data apart":            {"data: a\nid: 1\n: note\ndata: b\n\n", []string{`message "a\nb" id`}, io.EOF},
		"empty data":                     {"data\n\n", []string{`message ""`}, io.EOF},
		"comments":                       {": keep-alive\n\ndata: x\n: note\n\n", []string{"message -", `message "x"`}, io.EOF},
		"empty lines":                    {"\n\ndata: x\n\n\n", []string{"message -", "message -", `message "x"`, "message -"}, io.EOF},
		"fields are compared exactly":    {"Data: x\nDATA: x\n data: x\ndatax: x\ndata : x\n\n", []string{"message -"}, io.EOF},
		"unknown fields":                 {"retry: 5\nx: y\ndata: z\n\n", []string{`message "z"`}, io.EOF},
		"line ends of Windows":           {"event: ping\r\ndata: a\r\ndata: b\r\n\r\n", []string{`ping "a\nb"`}, io.EOF},
		"mixed line ends":                {"data: a\r\ndata: b\n\r\ndata: c\n\n", []string{`message "a\nb"`, `message "c"`}, io.EOF},
		"a carriage return in data":      {"data: x\n\ndata: a\rdata: b\n\n", []string{`message "x"`}, transport.ErrStream},
		"line ends of old Macs":          {"data: a\r\rdata: b\r\r\n", nil, transport.ErrStream},
		"an empty line in disguise":      {"data: a\n\r\r\ndata: b\n\n", nil, transport.ErrStream},
		"a byte order mark":              {"\xEF\xBB\xBFdata: x\n\n", nil, transport.ErrStream},
		"a byte order mark later":        {"data: x\n\n\xEF\xBB\xBFdata: y\n\n", []string{`message "x"`, "message -"}, io.EOF},
		"cut off":                        {"data: x\n\ndata: y", []string{`message "x"`}, io.EOF},
		"cut off after a line":           {"data: x\n\ndata: y\n", []string{`message "x"`}, io.EOF},
		"cut off within the end":         {"data: x\n\ndata: y\n\r", []string{`message "x"`}, io.EOF},
		"bytes are not looked at":        {"data: \xff\x00\n\n", []string{`message "\xff\x00"`}, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			for how, in := range map[string]io.Reader{
				"at once": strings.NewReader(tc.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.in)),
			} {
				got, err := events(in, 1000)
				var told []string
				for _, e := range got {
					told = append(told, tell(e))
				}
				if fmt.Sprint(told) != fmt.Sprint(tc.want) || !errors.Is(err, tc.err) {
					t.Errorf("%s: got %v %v, want %v %v", how, told, err, tc.want, tc.err)
				}
			}
		})
	}
}

func TestAnEventIsBounded(t *testing.T) {
	const limit = 64 << 10
	fits := "data: " + strings.Repeat("x", limit-len("data: \n\n")) + "\n\n"
	for name, tc := range map[string]struct {
		in   string
		n    int
		long bool
	}{
		"just as long":            {fits + fits, 2, false},
		"one byte more":           {fits + "data: " + strings.Repeat("x", limit-len("data: \n\n")+1) + "\n\n", 1, true},
		"many short lines":        {strings.Repeat("data: x\n", limit/8+1) + "\n", 0, true},
		"a comment without end":   {": " + strings.Repeat("x", 10*limit), 0, true},
		"many events, not longer": {strings.Repeat("data: x\n\n", limit), limit, false},
	} {
		got, err := events(strings.NewReader(tc.in), limit)
		if len(got) != tc.n || errors.Is(err, transport.ErrTooLong) != tc.long {
			t.Errorf("%s: %d events, %v", name, len(got), err)
		}
	}
}

func TestAStreamThatBreaksOffSaysSo(t *testing.T) {
	boom := errors.New("boom")
	got, err := events(io.MultiReader(strings.NewReader("data: x\n\ndata: y\n"), iotest.ErrReader(boom)), 100)
	if len(got) != 1 || !errors.Is(err, boom) || errors.Is(err, io.EOF) {
		t.Errorf("%v %v", got, err)
	}
}

func TestWithDataKeepsEverythingElse(t *testing.T) {
	for _, tc := range []struct{ in, data, want string }{
		{"data: a\n\n", "b", "data: b\n\n"},
		{"event: message\nid: 7\nretry: 5\ndata: a\n\n", "b", "event: message\nid: 7\nretry: 5\ndata: b\n\n"},
		{"data: a\ndata: c\nid: 7\ndata\n\n", "b", "id: 7\ndata: b\n\n"},
		{"id: 7\r\ndata: a\r\n\r\n", "b", "id: 7\ndata: b\n\n"},
		{": note\nid\ndata: a\n\n", "b", ": note\nid\ndata: b\n\n"},
		{"database: x\ndata: a\n\n", "b", "database: x\ndata: b\n\n"},
		{"data: a\n\n", "{\"a\":\n1,\r\n\r\"b\":2}", "data: {\"a\": 1,   \"b\":2}\n\n"}, // a line break would end the event
	} {
		got, err := events(strings.NewReader(tc.in), 1000)
		if len(got) != 1 || !errors.Is(err, io.EOF) {
			t.Fatal(tc.in, got, err)
		}
		if out := string(got[0].WithData([]byte(tc.data))); out != tc.want {
			t.Errorf("%q with %q\ngot  %q\nwant %q", tc.in, tc.data, out, tc.want)
		}
		if string(got[0].Raw) != tc.in {
			t.Errorf("WithData changed the event to %q", got[0].Raw)
		}
	}
}

func ExampleAppendEvent() {
	fmt.Printf("%q", transport.AppendEvent([]byte(": hello\n\n"), []byte(`{"jsonrpc":"2.0"}`)))
	// Output: ": hello\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\"}\n\n"
}

var (
	sseField = rapid.SampledFrom([]string{"data", "event", "id", "retry", "", "x"})
	sseLine  = rapid.Custom(func(t *rapid.T) string {
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		value := rapid.StringMatching(`(: ?[a-z:{}" ]{0,12})?`).Draw(t, "value")
		return sseField.Draw(t, "field") + value + end
	})
	sseStream = rapid.Custom(func(t *rapid.T) string {
		lines := rapid.SliceOfN(rapid.OneOf(sseLine, rapid.SampledFrom([]string{"\n", "\r\n"})), 0, 30).Draw(t, "lines")
		return strings.Join(lines, "")
	})
)

// However a stream is cut into packets, it has the same events, and their bytes are the stream.
func TestChunksDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := sseStream.Draw(t, "stream") + "\n\n"
		whole, err := events(strings.NewReader(in), 1<<20)
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		parts, err := events(chunked(t, []byte(in)), 1<<20)
		if !errors.Is(err, io.EOF) || len(parts) != len(whole) {
			t.Fatalf("%d events at once, %d in parts (%v)", len(whole), len(parts), err)
		}
		var raw []byte
		for i, e := range parts {
			raw = append(raw, e.Raw...)
			if tell(e) != tell(whole[i]) {
				t.Errorf("event %d: %s at once, %s in parts", i, tell(whole[i]), tell(e))
			}
		}
		if string(raw) != in {
			t.Errorf("the events are %q, the stream was %q", raw, in)
		}
	})
}

var anyLineEnd = regexp.MustCompile("\r\n|\r|\n")

// browser reads whole events as the standard says, line by line. It dispatches also those without data.
func browser(in string) (out []string) {
	fresh := transport.Event{Type: "message"}
	e := fresh
	lines := anyLineEnd.Split(in, -1)
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if e.Type == "" {
				e.Type = "message"
			}
			out = append(out, tell(e))
			e = fresh
			continue
		}
		name, value := line, ""
		if at := strings.IndexByte(line, ':'); at >= 0 {
			name, value = line[:at], strings.TrimPrefix(line[at+1:], " ")
		}
		switch name {
		case "event":
			e.Type = value
		case "data":
			if e.Data != nil {
				value = string(e.Data) + "\n" + value
			}
			e.Data = append([]byte{}, value...)
		case "id":
			if !strings.Contains(value, "\x00") {
				e.ID = value != ""
			}
		}
	}
	return out
}

// What is not refused has one reading: the standard's. And an event with other data is the same event but for that.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"data: {}\n\n", "event: ping\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\n", "event:\ndata\n\n", ": c\n\nid\x00: 1\nid: \x00\n\n",
		"\xEF\xBB\xBFdata: x\n\n", "data: x\n\n\xEF\xBB\xBFdata: y\n\n", "data: a\rdata: b\n\n", "data: a\n\r\n", "data: cut", "\n\n\n",
	} {
		f.Add([]byte(s), []byte("{\n}"))
	}
	f.Fuzz(func(t *testing.T, in, data []byte) {
		got, err := events(bytes.NewReader(in), 1<<20)
		if !errors.Is(err, io.EOF) && !errors.Is(err, transport.ErrStream) && !errors.Is(err, transport.ErrTooLong) {
			t.Fatal(err)
		}
		var raw []byte
		var told []string
		for _, e := range got {
			raw = append(raw, e.Raw...)
			told = append(told, tell(e))
		}
		if !bytes.HasPrefix(in, raw) {
			t.Fatalf("%q: the events are %q", in, raw)
		}
		if want := browser(string(raw)); fmt.Sprint(told) != fmt.Sprint(want) {
			t.Fatalf("%q\ngot  %v\nwant %v", raw, told, want)
		}
		for _, e := range got {
			again, err := events(bytes.NewReader(e.WithData(data)), 1<<21)
			if bytes.HasPrefix(e.WithData(data), []byte("\xEF\xBB\xBF")) {
				continue // it was not the first of its stream
			}
			want := transport.Event{Type: e.Type, ID: e.ID, Data: anyLineBreak(data)}
			if len(again) != 1 || !errors.Is(err, io.EOF) || tell(again[0]) != tell(want) {
				t.Fatalf("%q with %q: %q (%v)", e.Raw, data, e.WithData(data), err)
			}
		}
	})
}

func anyLineBreak(data []byte) []byte {
	return []byte(strings.NewReplacer("\n", " ", "\r", " ").Replace(string(data)))
}
