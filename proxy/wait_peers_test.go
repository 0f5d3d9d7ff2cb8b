package proxy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

const holdAll = `rules: [{name: ask, on: "*/*", do: hold}]`

// A client of the official library that gives up after some silence waits longer than that for a person, since it hears
// that its call is on hold: over HTTP and over a pipe, in both eras, with either kind of token. Then it gets the server's answer.
func TestARealClientIsKeptAliveByProgress(t *testing.T) {
	const silence, beat, beats = time.Second, 20 * time.Millisecond, 60
	for name, connect := range map[string]func(t *testing.T, c *sdk.Client, revision string) (*sdk.ClientSession, *proxy.Gate){
		"over HTTP": func(t *testing.T, c *sdk.Client, revision string) (*sdk.ClientSession, *proxy.Gate) {
			u := serve(t, nil)
			u.server.Config.Handler = official(newHouse(), &sdk.StreamableHTTPOptions{Stateless: revision == ""})
			f := standBefore(t, &manual{}, holdAll, u, func(c *proxy.HTTPConfig) { c.KeepAlive = beat })
			return dial(t, c, &sdk.StreamableClientTransport{Endpoint: f.url, MaxRetries: -1}, revision), f.gate
		},
		"over a pipe": func(t *testing.T, c *sdk.Client, revision string) (*sdk.ClientSession, *proxy.Gate) {
			s := sdk.NewServer(&sdk.Implementation{Name: "peer", Version: "1"}, nil)
			sdk.AddTool(s, &sdk.Tool{Name: "echo"}, func(_ context.Context, _ *sdk.CallToolRequest, in map[string]any) (*sdk.CallToolResult, map[string]any, error) {
				return nil, in, nil
			})
			disk := &manual{}
			g := gate(t, disk, policy(t, holdAll), nil)
			client, nearClient := socketPair(t)
			server, nearServer := socketPair(t)
			if _, err := s.Connect(t.Context(), &sdk.IOTransport{Reader: server, Writer: server}, nil); err != nil {
				t.Fatal(err)
			}
			link := proxy.NewLink(proxy.LinkConfig{Judge: g, Cleaner: cleaner(t), Origin: support, KeepAlive: beat})
			ended := make(chan error, 1)
			go func() {
				ended <- link.Pump(transport.NewLines(nearClient, wire.MaxSize), transport.NewLines(nearServer, wire.MaxSize))
			}()
			t.Cleanup(func() {
				client.Close()
				server.Close()
				receiveErr(t, ended) //nolint:errcheck // both ends were cut off
				g.Close()
				verify(t, disk)
			})
			return dial(t, c, &sdk.IOTransport{Reader: client, Writer: client}, revision), g
		},
	} {
		for revision, token := range map[string]any{"2025-11-25": 0, "": "tok"} {
			t.Run(name+", revision "+revision, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				silent := time.AfterFunc(time.Minute, func() { cancel(errors.New("it heard nothing for too long")) })
				defer silent.Stop()
				heard := make(chan float64, 10*beats)
				c := sdk.NewClient(&sdk.Implementation{Name: "official"}, &sdk.ClientOptions{
					ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
						silent.Reset(silence)
						heard <- r.Params.Progress
					},
				})
				s, g := connect(t, c, revision)
				defer s.Close()
				answers := make(chan error, 1)
				go func() {
					params := &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"a": 1}}
					params.SetProgressToken(token)
					res, err := s.CallTool(ctx, params)
					if err == nil && (res.IsError || res.StructuredContent == nil) {
						err = errors.New("not the server's answer")
					}
					answers <- err
				}()
				begin, last := time.Now(), 0.0
				for range beats {
					n := receive(t, heard, "progress")
					if n <= last {
						t.Errorf("%v after %v", n, last)
					}
					last = n
				}
				if time.Since(begin) < silence {
					t.Errorf("it waited for %s only", time.Since(begin))
				}
				decide(t, g, held(t, g, 1)[0].Call, approve)
				if err := receive(t, answers, "the answer"); err != nil {
					t.Error(err, context.Cause(ctx))
				}
			})
		}
	}
}

func dial(t *testing.T, c *sdk.Client, over sdk.Transport, revision string) *sdk.ClientSession {
	t.Helper()
	s, err := c.Connect(t.Context(), over, &sdk.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
