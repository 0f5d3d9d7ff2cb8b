package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/proxy/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream is a connection whose other end has said in, and which keeps what is written to it.
type stream struct {
	io.Reader
	mu     sync.Mutex
	out    bytes.Buffer
	writes int
	closed bool
	fails  error
}

func said(in string) *stream { return &stream{Reader: strings.NewReader(in)} }

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return 0, s.fails
	}
	s.writes++
	return s.out.Write(p)
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.closed = true
	return nil
}

// halves is a stream that can be closed for writing alone.
type halves struct {
	*stream
	half bool
}

func (h *halves) CloseWrite() error {
	h.half = true
	return nil
}

// frames reads all frames; what is refused stands in between as <err>.
func frames(t *testing.T, l *transport.Lines) (out []string) {
	t.Helper()
	for {
		frame, err := l.Read()
		switch {
		case errors.Is(err, transport.ErrTooLong):
			out = append(out, "<too long>")
		case errors.Is(err, transport.ErrLineBreak):
			out = append(out, "<line break>")
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatal(err)
		default:
			out = append(out, string(frame))
		}
	}
}

func TestLinesAreFrames(t *testing.T) {
	const limit = 10
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"one":                          {"{}\n", []string{"{}"}},
		"several":                      {"a\nb\nc\n", []string{"a", "b", "c"}},
		"nothing":                      {"", nil},
		"empty lines are none":         {"\n\na\n\n \t \nb\n\n", []string{"a", "b"}},
		"line ends of Windows":         {"a\r\nb\r\n\r\n", []string{"a", "b"}},
		"spaces around belong to it":   {"  a \n", []string{"  a "}},
		"bytes are not looked at":      {"\xff\x00\xef\xbb\xbf\n", []string{"\xff\x00\xef\xbb\xbf"}},
		"line separators of Unicode":   {"a\u2028b\n", []string{"a\u2028b"}},
		"carriage return within":       {"a\rb\nc\n", []string{"<line break>", "c"}},
		"carriage return at the start": {"\ra\nc\n", []string{"<line break>", "c"}},
		"two carriage returns":         {"a\r\r\nc\n", []string{"<line break>", "c"}},
		"only carriage returns":        {"a\rb\rc\r", nil},
		"as long as allowed":           {"0123456789\na\n", []string{"0123456789", "a"}},
		"as long, from Windows":        {"0123456789\r\na\n", []string{"0123456789", "a"}},
		"too long":                     {"01234567890\na\n", []string{"<too long>", "a"}},
		"too long, from Windows":       {"01234567890\r\na\n", []string{"<too long>", "a"}},
		"longer than any buffer":       {strings.Repeat("x", 1<<18) + "\na\n", []string{"<too long>", "a"}},
		"too long with line break":     {strings.Repeat("x\r", 100) + "\na\n", []string{"<too long>", "a"}},
		"cut off":                      {"a\n{\"id\":1}", []string{"a"}},
		"cut off and too long":         {"a\n" + strings.Repeat("x", 1<<18), []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			for how, in := range map[string]io.Reader{
				"at once": strings.NewReader(tc.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.in)),
				"with the end": iotest.DataErrReader(strings.NewReader(tc.in)),
			} {
				if got := frames(t, transport.NewLines(&stream{Reader: in}, limit)); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
					t.Errorf("%s: got %q, want %q", how, got, tc.want)
				}
			}
		})
	}
}

func TestAFrameBelongsToItsReader(t *testing.T) {
	l := transport.NewLines(said("first\nsecond\nthird\n"), 100)
	var kept [][]byte
	for range 3 {
		frame, err := l.Read()
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, frame)
		copy(frame[:1], "X") // and may be changed
	}
	if got := string(bytes.Join(kept, []byte(" "))); got != "Xirst Xecond Xhird" {
		t.Errorf("%q", got)
	}
}

func TestAReadErrorIsNotTheEnd(t *testing.T) {
	boom := errors.New("boom")
	l := transport.NewLines(&stream{Reader: io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(boom))}, 100)
	if frame, err := l.Read(); string(frame) != "a" || err != nil {
		t.Errorf("%q %v", frame, err)
	}
	if _, err := l.Read(); !errors.Is(err, boom) || errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// Attempt: a frame with line breaks, as HTTP and WebSocket may bring it. The reader on the other side must not take it for
// two messages.
func TestLineBreaksInAFrameBecomeSpaces(t *testing.T) {
	for frame, want := range map[string]string{
		"{}\n{\"smuggled\":1}": "{} {\"smuggled\":1}\n", "{\r\n}": "{  }\n", " {} \r\n": " {} \n", "{\r\r\n\n}\r": "{    }\n",
	} {
		s := said("")
		given := []byte(frame)
		if err := transport.NewLines(s, 100).Write(given); err != nil || s.out.String() != want || string(given) != frame {
			t.Errorf("%q: %v, wrote %q", frame, err, s.out.String())
		}
	}
}

func TestAWrittenFrameIsOneWrite(t *testing.T) {
	s := said("")
	l := transport.NewLines(s, 100)
	large := strings.Repeat("x", 3<<20) // longer than what may be read, and than the buffer that is kept
	for i, frame := range []string{`{"a": 1.0}`, large, "", "b"} {
		s.out.Reset()
		if err := l.Write([]byte(frame)); err != nil || s.out.String() != frame+"\n" || s.writes != i+1 {
			t.Errorf("frame %d: %v, %d bytes in %d writes", i, err, s.out.Len(), s.writes)
		}
	}
	s.fails = errors.New("gone")
	if err := l.Write([]byte("c")); !errors.Is(err, s.fails) {
		t.Error(err)
	}
}

func TestFramesThatAreReadyAreOneWrite(t *testing.T) {
	s := said("")
	l := transport.NewLines(s, 100)
	if err := l.Write([]byte("a"), []byte("b"), []byte("c")); err != nil || s.out.String() != "a\nb\nc\n" || s.writes != 1 {
		t.Errorf("%q in %d writes: %v", s.out.String(), s.writes, err)
	}
	if err := l.Write([]byte("d"), []byte("e\rf")); err != nil || s.out.String() != "a\nb\nc\nd\ne f\n" || s.writes != 2 {
		t.Errorf("%q in %d writes: %v", s.out.String(), s.writes, err)
	}
}

func TestReadyPromisesAFrame(t *testing.T) {
	for in, want := range map[string]bool{
		"x\ny\n": true, "x\n\n \ny\n": true, "x\ny": false, "x\n\n": false, "x\n \t\r\n": false, "x\n": false, "x\n\ny": false,
	} {
		l := transport.NewLines(said(in), 100)
		if l.Ready() {
			t.Errorf("%q is ready before it is read", in)
		}
		if _, err := l.Read(); err != nil || l.Ready() != want {
			t.Errorf("%q: ready is %t, %v", in, !want, err)
		}
	}
}

func TestConcurrentWritesNeverInterleave(t *testing.T) {
	a, b := net.Pipe()
	to, from := transport.NewLines(a, 1<<20), transport.NewLines(b, 1<<20)
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if err := to.Write(fmt.Appendf(nil, "%d %d %s", i, j, strings.Repeat("x", 37*i*j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		next := map[int]int{}
		for range writers * each {
			frame, err := from.Read()
			var i, j int
			var rest string
			fmt.Sscan(string(frame), &i, &j, &rest) //nolint:errcheck // the comparison fails
			if err != nil || j != next[i] || strings.Trim(rest, "x") != "" || len(rest) != 37*i*j {
				t.Errorf("writer %d: frame %d of %d bytes, %d is next (%v)", i, j, len(rest), next[i], err)
			}
			next[i]++
		}
	})
	wg.Wait()
	if err := to.Close(); err != nil {
		t.Error(err)
	}
	if _, err := from.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := from.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWrite(t *testing.T) {
	half := &halves{stream: said("")}
	if err := transport.NewLines(half, 10).CloseWrite(); err != nil || !half.half || half.closed {
		t.Errorf("a connection with two halves: %v, half %v, whole %v", err, half.half, half.closed)
	}
	whole := said("")
	if err := transport.NewLines(whole, 10).CloseWrite(); err != nil || !whole.closed {
		t.Errorf("a connection with one: %v, whole %v", err, whole.closed)
	}
}

func TestCloseEndsARead(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	l := transport.NewLines(a, 10)
	ended := make(chan error)
	go func() {
		_, err := l.Read()
		ended <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a read goes on after Close")
	}
}

// Whatever is written is read, in the pieces in which it was written.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[^\r\n]{0,30}[!-~]`)
		want := rapid.SliceOf(text).Draw(t, "frames")
		s := said("")
		to := transport.NewLines(s, 200)
		for _, frame := range want {
			if err := to.Write([]byte(frame)); err != nil {
				t.Fatal(err)
			}
		}
		from := transport.NewLines(&stream{Reader: chunked(t, s.out.Bytes())}, 200)
		for i, frame := range want {
			if got, err := from.Read(); err != nil || string(got) != frame {
				t.Fatalf("frame %d: got %q (%v), want %q", i, got, err, frame)
			}
		}
		if _, err := from.Read(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	})
}

// chunks is a reader that gives its data in the given pieces.
type chunks struct{ parts [][]byte }

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	return n, nil
}

// chunked draws pieces of data.
func chunked(t *rapid.T, data []byte) io.Reader {
	c := &chunks{}
	for len(data) > 0 {
		n := rapid.IntRange(1, len(data)).Draw(t, "chunk")
		c.parts = append(c.parts, data[:n])
		data = data[n:]
	}
	return c
}
