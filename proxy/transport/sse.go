package transport

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Event is one server-sent event, or one comment block.
type Event struct {
	Raw  []byte // every byte of it, the empty line at its end included
	Type string // "message" if the stream does not say
	Data []byte // the lines of data, joined; nil if there are none
	ID   bool   // it has an id: the stream can be resumed after it
}

// ErrStream says that a stream of events can be read in two ways.
var ErrStream = errors.New("transport: malformed event stream")

// Events reads a text/event-stream (WHATWG HTML, "Server-sent events").
type Events struct {
	in    *bufio.Reader
	max   int
	begun bool
}

// The buffers of a stream: most streams are open for long and say little, and one that says much gets a larger buffer.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

// NewEvents returns a reader that refuses events of more than max bytes.
func NewEvents(r io.Reader, max int) *Events {
	return &Events{in: bufio.NewReaderSize(r, smallBuffer), max: max}
}

// Next returns the next event. At the end of the stream the error is io.EOF; an event that the stream cuts off is
// dropped, as browsers do. A carriage return that does not end a line with a line feed is refused: readers disagree
// whether it ends a line.
func (s *Events) Next() (Event, error) {
	e := Event{Type: "message"}
	for {
		from := len(e.Raw)
		for more := true; more; {
			part, err := s.in.ReadSlice('\n')
			e.Raw = append(e.Raw, part...)
			switch more = errors.Is(err, bufio.ErrBufferFull); {
			case len(e.Raw) > s.max:
				return Event{}, fmt.Errorf("%w: an event of more than %d bytes", ErrTooLong, s.max)
			case more && s.in.Size() < largeBuffer:
				s.in = bufio.NewReaderSize(s.in, largeBuffer) // over what the small one still holds
			case more || err == nil:
			case errors.Is(err, io.EOF):
				return Event{}, io.EOF
			default:
				return Event{}, fmt.Errorf("transport: %w", err)
			}
		}
		if !s.begun && bytes.HasPrefix(e.Raw, []byte("\xEF\xBB\xBF")) {
			return Event{}, fmt.Errorf("%w: a byte order mark", ErrStream)
		}
		s.begun = true
		line := bytes.TrimSuffix(e.Raw[from:len(e.Raw)-1], []byte("\r"))
		if bytes.IndexByte(line, '\r') >= 0 {
			return Event{}, fmt.Errorf("%w: a carriage return within a line", ErrStream)
		}
		if len(line) == 0 {
			return e, nil
		}
		e.field(line)
	}
}

func (e *Event) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if e.Data != nil {
			e.Data = append(e.Data, '\n')
		} else {
			e.Data = make([]byte, 0, len(value))
		}
		e.Data = append(e.Data, value...)
	case "event":
		if e.Type = string(value); e.Type == "" {
			e.Type = "message"
		}
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			e.ID = len(value) > 0
		}
	}
}

// Field returns the last value of a field of e, such as its id; empty if there is none.
func (e Event) Field(want string) (value string) {
	for line := range bytes.Lines(e.Raw) {
		name, text, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if string(name) == want {
			value = string(bytes.TrimPrefix(text, []byte(" ")))
		}
	}
	return value
}

// AppendEvent appends an event of type message with one line of data. The data is JSON: its line breaks become spaces.
func AppendEvent(dst, data []byte) []byte {
	dst = append(dst, "event: message\ndata: "...)
	from := len(dst)
	dst = append(dst, data...)
	unbreak(dst[from:])
	return append(dst, "\n\n"...)
}

// WithData returns the bytes of e with other data; type, id and retry stay. The data is JSON: its line breaks stand
// between tokens and become spaces.
func (e Event) WithData(data []byte) []byte {
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\n"), []byte(" ")), []byte("\r"), []byte(" "))
	var out []byte
	for line := range bytes.Lines(e.Raw) {
		text := bytes.TrimRight(line, "\r\n")
		if name, _, _ := bytes.Cut(text, []byte(":")); len(text) > 0 && string(name) != "data" {
			out = append(append(out, text...), '\n')
		}
	}
	return append(append(append(out, "data: "...), data...), "\n\n"...)
}
