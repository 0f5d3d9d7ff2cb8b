package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// socketPair returns the two ends of a connection that can be closed by halves, as the shim's are.
func socketPair(t testing.TB) (far, near *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "u")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if far, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr)); err != nil {
		t.Fatal(err)
	}
	if near, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{far, near} {
		t.Cleanup(func() { c.Close() })
	}
	far.SetDeadline(time.Now().Add(time.Minute))
	return far, near
}

// Ways to spell a call of a denied tool that one parser or another executes (see the field notes: each of them passed
// some server or some firewall).
var spellings = map[string]string{
	"as it is":                     `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"escaped name":                 `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete\u005forder"}}`,
	"escaped keys":                 `{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools/call","par\u0061ms":{"n\u0061me":"delete_order"}}`,
	"escaped method":               `{"jsonrpc":"2.0","id":1,"method":"tools\/c\u0061ll","params":{"name":"delete_order"}}`,
	"duplicate name":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"delete_order"}}`,
	"duplicate name, other order":  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order","name":"read"}}`,
	"duplicate name, escaped":      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","\u006eame":"delete_order"}}`,
	"duplicate params":             `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"params":{"name":"delete_order"}}`,
	"duplicate method":             `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"delete_order"}}`,
	"duplicate id":                 `{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"delete_order"}}`,
	"twin of name":                 `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"delete_order"}}`,
	"twin of params":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"PARAMS":{"name":"delete_order"}}`,
	"twin of params, long s":       `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"},"paramſ":{"name":"delete_order"}}`,
	"twin of method":               `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"delete_order"}}`,
	"twin of method alone":         `{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"delete_order"}}`,
	"twin of method in a response": `{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call","params":{"name":"delete_order"}}`,
	"request and response":         `{"jsonrpc":"2.0","id":1,"result":{},"method":"tools/call","params":{"name":"delete_order"}}`,
	"twin of arguments":            `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{},"Arguments":{"x":1}}}`,
	"method in capitals":           `{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"delete_order"}}`,
	"method with space":            `{"jsonrpc":"2.0","id":1,"method":" tools/call","params":{"name":"delete_order"}}`,
	"method with a line break":     `{"jsonrpc":"2.0","id":1,"method":"tools/call\n","params":{"name":"delete_order"}}`,
	"method with a wide space":     `{"jsonrpc":"2.0","id":1,"method":"tools/call\u00a0","params":{"name":"delete_order"}}`,
	"kelvin sign":                  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","taſk":{}}}`,
	"notification":                 `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"delete_order"}}`,
	"id null":                      `{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"delete_order"}}`,
	"id true":                      `{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"delete_order"}}`,
	"id is a list":                 `{"jsonrpc":"2.0","id":[1],"method":"tools/call","params":{"name":"delete_order"}}`,
	"no version":                   `{"id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"another version":              `{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"params in a list":             `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["delete_order",{}]}`,
	"name in a list":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["delete_order"]}}`,
	"arguments in a string":        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":"{}"}}`,
	"batch":                        `[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}]`,
	"nested batch":                 `[[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}]]`,
	"second document":              `{"jsonrpc":"2.0","id":9,"method":"ping"}{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"second document, with space":  `{"jsonrpc":"2.0","id":9,"method":"ping"} {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"document behind a comma":      `{"jsonrpc":"2.0","id":9,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"document behind a separator":  "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\x1e" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"document behind CR":           "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\r" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"CR between tokens":            "{\"jsonrpc\":\"2.0\",\r\"id\":9,\"method\":\"ping\"}",
	"CR in a string":               "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\",\"params\":{\"x\":\"\r" + `{"jsonrpc":"2.0","id":1,"method":"tools/call"}` + "\"}}",
	"vertical tab":                 "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\v" + `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`,
	"byte order mark":              "\xEF\xBB\xBF" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}`,
	"UTF-16":                       "\xff\xfe{\x00\"\x00}\x00",
	"not UTF-8":                    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"read\",\"arguments\":{\"x\":\"\xff\"}}}",
	"overlong slash":               "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools\xc0\xafcall\",\"params\":{\"name\":\"delete_order\"}}",
	"comment":                      `{"jsonrpc":"2.0","id":1,/**/"method":"tools/call","params":{"name":"delete_order"}}`,
	"trailing comma":               `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"},}`,
	"single quotes":                `{'jsonrpc':'2.0','id':1,'method':'tools/call','params':{'name':'delete_order'}}`,
	"half a surrogate pair":        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":"\udc00"}}}`,
	"a huge number":                `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":1e999}}}`,
	"too deep":                     `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}}`,
	"cut off":                      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"`,
	"zero byte":                    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_order"}}` + "\x00",
	"header":                       "Content-Length: 84",
}

// Invariants 5 and 6: over real sockets, whatever the spelling, the client gets one answer and the server not a byte.
func TestWhatServersReadDifferentlyNeverReachesThemOverStdio(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	defer g.Close()
	client, nearClient := socketPair(t)
	server, nearServer := socketPair(t)
	link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support})
	ended := make(chan error, 1)
	go func() {
		ended <- link.Pump(transport.NewLines(nearClient, wire.MaxSize), transport.NewLines(nearServer, wire.MaxSize))
	}()
	atClient, atServer := transport.NewLines(client, wire.MaxSize), transport.NewLines(server, wire.MaxSize)
	for name, frame := range spellings {
		mark := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/after","params":{"name":%q}}`, name)
		if _, err := client.Write([]byte(frame + "\n" + mark + "\n")); err != nil {
			t.Fatal(err)
		}
		if got, err := atServer.Read(); err != nil || string(got) != mark {
			t.Fatalf("%s: the server got %s (%v)", name, got, err)
		}
		reply, err := atClient.Read()
		if err != nil || !gjson.ValidBytes(reply) {
			t.Fatalf("%s: the client got %q (%v)", name, reply, err)
		}
		if !gjson.GetBytes(reply, "error").Exists() && !gjson.GetBytes(reply, "result.isError").Bool() {
			t.Errorf("%s: the client got %s", name, reply)
		}
	}
	if err := client.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := atServer.Read(); err == nil {
		t.Errorf("the server got %s", got)
	}
	if err := server.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := atClient.Read(); err == nil {
		t.Errorf("the client got %s", got)
	}
	if err := receiveErr(t, ended); err != nil {
		t.Error(err)
	}
	refused, calls := 0, 0
	for _, e := range log(t, disk) {
		if _, ok := e.Body.(*event.Signal); ok {
			refused++
		}
		if c, ok := e.Body.(*event.Call); ok {
			if calls++; c.Tool != "delete_order" {
				t.Errorf("%+v was judged", c)
			}
		}
	}
	if calls != 4 || refused != len(spellings)-4 { // four of them can be read in one way only
		t.Errorf("%d of %d were refused, %d were judged", refused, len(spellings), calls)
	}
	verify(t, disk)
}

// keyboard is a client that has said all it has to say, and does not listen.
type keyboard struct{ io.Reader }

// Write implements io.Writer.
func (keyboard) Write(p []byte) (int, error) { return len(p), nil }

// Close implements io.Closer.
func (keyboard) Close() error { return nil }

// lenient is how a forgiving server reads a message: any case, the last of duplicates, several documents in a line.
type lenient struct {
	Method string `json:"method"`
}

// Whatever bytes a client sends: where no tool is allowed, no server reads a tools/call.
func FuzzNothingThatIsDeniedReachesTheServer(f *testing.F) {
	for _, frame := range spellings {
		f.Add([]byte(frame+"\n"), false)
		f.Add([]byte(hello+"\r\n"+frame+"\n"+frame+"\n\n"), true)
		f.Add([]byte("["+frame+","+hello+"]\n"), true)
	}
	none := policy(f, "allow: []")
	clean := cleaner(f)
	f.Fuzz(func(t *testing.T, in []byte, batches bool) {
		g := gate(t, &manual{}, none, nil)
		defer g.Close()
		who := support
		if batches {
			who.Protocol = "2025-03-26"
		}
		server, nearServer := cable()
		link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: clean, Origin: who})
		client := transport.NewLines(keyboard{bytes.NewReader(in)}, 1<<16)
		link.Pump(client, &obedient{plug: nearServer, told: make(chan struct{})}) //nolint:errcheck // however it ends
		for {
			frame, err := server.Read()
			if err != nil {
				return
			}
			d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(frame, []byte("\xEF\xBB\xBF"))))
			for {
				var raw json.RawMessage
				if d.Decode(&raw) != nil {
					break
				}
				var one lenient
				var many []lenient
				json.Unmarshal(raw, &one)  //nolint:errcheck // it may be the other
				json.Unmarshal(raw, &many) //nolint:errcheck // as above
				for _, m := range append(many, one) {
					if strings.EqualFold(strings.TrimSpace(m.Method), "tools/call") {
						t.Fatalf("%q: the server gets %q", in, frame)
					}
				}
			}
		}
	})
}

// obedient is a server that says nothing, and ends when nothing more comes.
type obedient struct {
	*plug
	told chan struct{}
	once sync.Once
}

// CloseWrite implements proxy.Conn.
func (o *obedient) CloseWrite() error {
	o.once.Do(func() { close(o.told) })
	return o.plug.CloseWrite()
}

// Read implements proxy.Conn.
func (o *obedient) Read() ([]byte, error) {
	<-o.told
	return nil, io.EOF
}

// Frames of many sizes, both ways at once, as fast as they go: none is lost, mixed up or changed.
func TestManyCallsOverSockets(t *testing.T) {
	disk := &manual{}
	g := gate(t, disk, policy(t, noDeletes), nil)
	defer g.Close()
	client, nearClient := socketPair(t)
	server, nearServer := socketPair(t)
	link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support})
	ended := make(chan error, 1)
	go func() {
		ended <- link.Pump(transport.NewLines(nearClient, wire.MaxSize), transport.NewLines(nearServer, wire.MaxSize))
	}()
	atClient, atServer := transport.NewLines(client, wire.MaxSize), transport.NewLines(server, wire.MaxSize)
	const n = 300
	fill := func(i int) string { return strings.Repeat("x", (i*i*7)%(100<<10)) }
	var wg sync.WaitGroup
	wg.Go(func() { // the client
		for i := range n {
			if err := atClient.Write([]byte(toolCall(fmt.Sprint(i), "read", `{"x":"`+fill(i)+`"}`))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() { // the server, which answers in its own time
		for i := range n {
			frame, err := atServer.Read()
			if err != nil || string(frame) != toolCall(fmt.Sprint(i), "read", `{"x":"`+fill(i)+`"}`) {
				t.Errorf("call %d: %.100s (%v)", i, frame, err)
				return
			}
			wg.Go(func() {
				if err := atServer.Write([]byte(result(fmt.Sprint(i), `{"x":"`+fill(i)+`"}`))); err != nil {
					t.Error(err)
				}
			})
		}
	})
	seen := map[string]bool{}
	for range n {
		frame, err := atClient.Read()
		if err != nil {
			t.Fatal(err)
		}
		id := gjson.GetBytes(frame, "id")
		if seen[id.Raw] || !bytes.Equal(frame, []byte(result(id.Raw, `{"x":"`+fill(int(id.Int()))+`"}`))) {
			t.Errorf("answer %s: %.100s", id.Raw, frame)
		}
		seen[id.Raw] = true
	}
	wg.Wait()
	client.Close()
	server.Close()
	receiveErr(t, ended) //nolint:errcheck // both were closed under it
	if got := strings.Count(kinds(log(t, disk)), "result"); got != n {
		t.Errorf("%d results of %d calls", got, n)
	}
	verify(t, disk)
}
