package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// ends is one side of two pipes.
type ends struct{ in, out *os.File }

// Read implements io.Reader.
func (e ends) Read(p []byte) (int, error) { return e.in.Read(p) }

// Write implements io.Writer.
func (e ends) Write(p []byte) (int, error) { return e.out.Write(p) }

// CloseWrite says that nothing more will come.
func (e ends) CloseWrite() error { return e.out.Close() }

// Close implements io.Closer.
func (e ends) Close() error {
	e.out.Close()
	return e.in.Close()
}

func piped(b *testing.B) (near, far ends) {
	b.Helper()
	var err error
	if near.in, far.out, err = os.Pipe(); err == nil {
		far.in, near.out, err = os.Pipe()
	}
	if err != nil {
		b.Fatal(err)
	}
	return near, far
}

// BenchmarkPump is a call of 1 KiB and its answer over pipes, judged and recorded in memory, and for comparison copied
// line by line.
func BenchmarkPump(b *testing.B) {
	judged := func(client, server ends) {
		disk := &manual{}
		g := gate(b, disk, policy(b, noDeletes), nil)
		link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(b), Origin: support})
		link.Pump(transport.NewLines(client, wire.MaxSize), transport.NewLines(server, wire.MaxSize))
		g.Close()
	}
	copied := func(client, server ends) {
		pass := func(to, from ends) {
			in := bufio.NewReaderSize(from, 64<<10)
			for {
				line, err := in.ReadBytes('\n')
				if err != nil {
					to.CloseWrite()
					return
				}
				to.Write(line)
			}
		}
		go pass(server, client)
		pass(client, server)
	}
	for name, pump := range map[string]func(client, server ends){"copied": copied, "judged": judged} {
		for _, inFlight := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/in-flight=%d", name, inFlight), func(b *testing.B) {
				client, nearClient := piped(b)
				server, nearServer := piped(b)
				over := make(chan struct{})
				go func() {
					pump(nearClient, nearServer)
					close(over)
				}()
				go func() { // the server
					lines := bufio.NewScanner(server)
					for lines.Scan() {
						_, rest, _ := bytes.Cut(lines.Bytes(), []byte(`"id":`))
						id, _, _ := bytes.Cut(rest, []byte(","))
						fmt.Fprintln(server, result(string(id), okResult))
					}
					server.Close()
				}()
				args := `{"text":"` + strings.Repeat("x", 1<<10) + `"}`
				free := make(chan struct{}, inFlight)
				go func() {
					for i := range b.N {
						free <- struct{}{}
						fmt.Fprintln(client, toolCall(fmt.Sprint(i), "read", args))
					}
				}()
				answers := bufio.NewScanner(client)
				for range b.N {
					if !answers.Scan() || !strings.Contains(answers.Text(), okResult) {
						b.Fatal(answers.Text(), answers.Err())
					}
					<-free
				}
				client.CloseWrite()
				<-over
			})
		}
	}
}
