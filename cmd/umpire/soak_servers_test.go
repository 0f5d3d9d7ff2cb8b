package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// message makes what a call asks for: padding of so many bytes, with its checksum, and an answer with as many as wanted.
func message(id, tool string, n, padding, want int) []byte {
	pad := strings.Repeat(string(rune('a'+n%26)), padding)
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":%q,"_meta":{"progressToken":%d},"arguments":{"n":%d,"want":%d,"sum":%d,"pad":%q}}}`,
		id, tool, n, n, want, crc32.ChecksumIEEE([]byte(pad)), pad)
}

// padded is how the answer to call n is padded to be so long.
func padded(n, want int) string { return strings.Repeat(string(rune('A'+n%26)), want) }

const soakTools = `{"tools":[{"name":"free","inputSchema":{"type":"object"}},{"name":"slow","inputSchema":{"type":"object"}},` +
	`{"name":"limited","inputSchema":{"type":"object"}},{"name":"asked","inputSchema":{"type":"object"}},{"name":"never","inputSchema":{"type":"object"}}]}`

// reply is what the servers of the soak answer, and after how long; nil if there is nothing to answer. What they are told
// of calls they note first.
func reply(line []byte, note func(n int, whole bool)) (answer []byte, after time.Duration) {
	if !json.Valid(line) {
		return nil, 0 // the beginning of a line, whose writer was killed
	}
	m := gjson.ParseBytes(line)
	id := m.Get("id").Raw
	result := "{}"
	switch m.Get("method").Str {
	case "initialize":
		result = `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}`
	case "tools/list":
		result = soakTools
	case "tools/call":
		args := m.Get("params.arguments")
		n, pad := int(args.Get("n").Int()), args.Get("pad").Str
		note(n, int64(crc32.ChecksumIEEE([]byte(pad))) == args.Get("sum").Int())
		if m.Get("params.name").Str == "slow" {
			after = time.Duration(n%300) * time.Millisecond
		}
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"done %d"},{"type":"text","text":%q}]}`, n, padded(n, int(args.Get("want").Int())))
	}
	if id == "" {
		return nil, 0
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result), after
}

// soakServer is a program of its own: a server over stdio, which notes the calls that it gets at the socket that its first
// argument names, before it does anything else about them. What it has noted is known even if it is killed.
func soakServer() {
	notes, err := net.Dial("unix", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(notes, "hello", os.Getpid())
	var mu sync.Mutex
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		answer, after := reply(line, func(n int, whole bool) {
			if _, err := fmt.Fprintln(notes, "call", n, whole); err != nil {
				os.Exit(1)
			}
		})
		if answer == nil {
			continue
		}
		write := func() {
			mu.Lock()
			defer mu.Unlock()
			if len(answer)%5 == 0 {
				fmt.Println(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"news"}}`)
			}
			os.Stdout.Write(append(answer, '\n'))
		}
		if after == 0 {
			write()
		} else {
			time.AfterFunc(after, write)
		}
	}
}

// notary hears what the servers note.
type notary struct {
	*books
	net.Listener
	hearing sync.WaitGroup
	mu      sync.Mutex
	alive   map[*os.Process]bool
}

func newNotary(b *books, dir string) (*notary, error) {
	l, err := net.Listen("unix", filepath.Join(dir, "notes"))
	n := &notary{books: b, Listener: l, alive: map[*os.Process]bool{}}
	if err == nil {
		n.hearing.Go(n.listen)
	}
	return n, err
}

func (n *notary) listen() {
	for {
		conn, err := n.Accept()
		if err != nil {
			return
		}
		n.hearing.Go(func() { n.hear(conn) })
	}
}

func (n *notary) hear(conn net.Conn) {
	defer conn.Close()
	var pid int
	in := bufio.NewReader(conn)
	if _, err := fmt.Fscanf(in, "hello %d\n", &pid); err != nil {
		return // it was killed first
	}
	if p, err := os.FindProcess(pid); err == nil {
		n.mu.Lock()
		n.alive[p] = true
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			delete(n.alive, p)
			n.mu.Unlock()
			p.Release()
		}()
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		var call int
		var whole bool
		if _, err := fmt.Sscanf(line, "call %d %t", &call, &whole); err != nil {
			n.fault("a note says %q", line)
			return
		}
		n.arrive(call, whole)
	}
}

// kill kills any of the servers.
func (n *notary) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.alive {
		n.misfortune("a child is killed", "%d", p.Pid)
		p.Kill()
		return
	}
}

// elsewhere is the same server over HTTP.
type elsewhere struct {
	*books
	address string
	mu      sync.Mutex
	server  *http.Server // nil while it is down
	serving sync.WaitGroup
}

func (e *elsewhere) url() string { return "http://" + e.address + "/mcp" }

// up begins to serve.
func (e *elsewhere) up() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", e.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute, ErrorLog: stdlog.New(io.Discard, "", 0)}
	e.server = server
	e.serving.Go(func() { server.Serve(l) })
	return nil
}

// down breaks every connection off, whatever is under way.
func (e *elsewhere) down() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil {
		e.server.Close()
		e.serving.Wait() // it may not have begun to serve, and closes the listener then
		e.server = nil
	}
}

// ServeHTTP implements http.Handler.
func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	answer, after := reply(body, e.arrive)
	if answer == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	select {
	case <-r.Context().Done():
		return
	case <-time.After(after):
	}
	if len(answer)%3 == 0 {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\n", answer)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(bytes.TrimSpace(answer))
}
