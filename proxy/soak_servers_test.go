package proxy_test

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

func checksum(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// unreliable is an MCP server that does to its clients whatever servers do. What it gets, it enters into the books.
type unreliable struct{ *books }

// arrive notes a call that the server got.
func (u *unreliable) arrive(body []byte) (n int) {
	n = int(gjson.GetBytes(body, "params.arguments.n").Int())
	u.note(n, reached)
	if !unbroken(body) {
		u.fault("call %d arrived as %s", n, body)
	}
	return n
}

// good is the answer to call n.
func good(id string, n int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done %d"}]}}`, id, n)
}

// bad is one of the answers that say that the tool did not do it.
func (u *unreliable) bad(id string) string {
	if u.draw(2) == 0 {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"isError":true,"content":[{"type":"text","text":"no"}]}}`, id)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"no"}}`, id)
}

// junk is one of the things that are no answer.
func (u *unreliable) junk(id string, n int) string {
	return []string{
		"not found", "", "{", `{"jsonrpc":"2.0","id":` + id, `{"jsonrpc":"2.0","id":` + id + `,"result":{"a":1,"a":2}}`, "\xff\xfe",
		`{"jsonrpc":"2.0","id":"nobody asked","result":{}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}`,
		`[` + good(id, n) + `,` + good(id, n) + `]`,
	}[u.draw(9)]
}

// stranger is an id that nobody uses.
func (u *unreliable) stranger() string { return fmt.Sprint(1_000_000 + u.draw(1000)) }

const toolList = `{"tools":[{"name":"pay","inputSchema":{"type":"object"}},{"name":"look","inputSchema":{"type":"object"}}]}`

// ServeHTTP implements http.Handler.
func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away while it sent
	}
	id := gjson.GetBytes(body, "id").Raw
	switch method := gjson.GetBytes(body, "method").Str; {
	case r.Method == http.MethodGet:
		u.listen(w, r)
	case r.Method == http.MethodDelete:
		w.WriteHeader([]int{http.StatusOK, http.StatusNoContent, http.StatusMethodNotAllowed, http.StatusNotFound}[u.draw(4)])
	case id == "":
		w.WriteHeader(http.StatusAccepted)
	case method == "initialize":
		w.Header().Set("Mcp-Session-Id", fmt.Sprintf("session-%d", u.draw(1<<40)))
		give(w, http.StatusOK, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}`, id))
	case method == "tools/list":
		give(w, http.StatusOK, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, toolList))
	case method == "tools/call":
		u.call(w, r, id, u.arrive(body))
	default:
		give(w, http.StatusOK, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id))
	}
}

// listen is a GET stream with some news on it.
func (u *unreliable) listen(w http.ResponseWriter, r *http.Request) {
	send := stream(w)
	for range u.draw(5) {
		send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\n")
		if !u.pause(r.Context().Done(), 50*time.Millisecond) {
			return
		}
	}
	switch u.draw(3) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		u.pause(r.Context().Done(), time.Second)
	}
}

// pause takes a part of most, and reports whether nobody hung up meanwhile.
func (u *unreliable) pause(hungUp <-chan struct{}, most time.Duration) bool {
	select {
	case <-hungUp:
		return false
	case <-time.After(time.Duration(u.draw(int(most)) + 1)):
		return true
	}
}

// call answers a call, more or less.
func (u *unreliable) call(w http.ResponseWriter, r *http.Request, id string, n int) {
	answer := good(id, n)
	fault := u.draw(40)
	switch fault {
	case 0: // cut before the answer
		panic(http.ErrAbortHandler)
	case 1: // in the middle of it
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		io.WriteString(w, answer[:len(answer)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case 2: // right after it
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		io.WriteString(w, answer)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case 3, 4: // it hangs, and maybe the client cancels
		if u.pause(r.Context().Done(), time.Second) {
			give(w, http.StatusOK, answer)
		}
	case 5, 6:
		give(w, http.StatusOK, u.junk(id, n))
	case 7:
		give(w, []int{http.StatusInternalServerError, http.StatusNotFound, http.StatusTooManyRequests, http.StatusAccepted}[u.draw(4)], []string{"", answer, "no"}[u.draw(3)])
	case 8: // another's id
		give(w, http.StatusOK, good(u.stranger(), n))
	case 9: // twice
		send := stream(w)
		send("data: " + answer + "\n\n")
		send("data: " + answer + "\n\n")
	case 10: // a stream that is cut within an event, and one that ends before the answer
		send := stream(w)
		send(": hello\n\ndata: " + answer[:len(answer)/2])
		if u.draw(2) == 0 {
			panic(http.ErrAbortHandler)
		}
	case 11, 12, 13:
		send := stream(w)
		send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":0.5}}\n\n")
		u.pause(r.Context().Done(), 5*time.Millisecond)
		send("event: message\ndata: " + answer + "\n\n")
	case 14:
		stream(w)("data: " + u.junk(id, n) + "\n\ndata: " + answer + "\n\n")
	case 15, 16, 17:
		give(w, http.StatusOK, u.bad(id))
	default:
		u.pause(r.Context().Done(), 10*time.Millisecond)
		give(w, http.StatusOK, answer)
	}
}

// pipe is the same server behind a shim. It ends when it is told to; died says that it ended before.
func (u *unreliable) pipe(conn net.Conn) (died bool) {
	defer conn.Close()
	var mu sync.Mutex
	write := func(lines ...string) {
		mu.Lock()
		defer mu.Unlock()
		io.WriteString(conn, strings.Join(lines, "\n")+"\n")
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	ended := make(chan struct{})
	defer close(ended)
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return false
		}
		line = line[:len(line)-1]
		id := gjson.GetBytes(line, "id").Raw
		if id == "" {
			continue
		}
		if gjson.GetBytes(line, "method").Str != "tools/call" {
			write(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, id))
			continue
		}
		n := u.arrive(line)
		switch u.draw(40) {
		case 0: // dies
			return true
		case 1: // forgets it
		case 2:
			write("a log line", u.junk(id, n))
			write(good(id, n))
		case 3:
			write(good(u.stranger(), n), good(id, n), good(id, n))
		case 4, 5:
			write(u.bad(id))
		default:
			answering.Go(func() {
				if u.pause(ended, 20*time.Millisecond) {
					write(good(id, n))
				}
			})
		}
	}
}

// quiet is the log of a server whose clients break off.
func quiet() *stdlog.Logger { return stdlog.New(io.Discard, "", 0) }
