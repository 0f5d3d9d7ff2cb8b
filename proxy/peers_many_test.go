package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Clients number their requests alike. However many talk to one server at the same time, each gets the answers to its
// own calls, and a limit that they share holds.
func TestManyPeersAtOnceGetTheirOwnAnswers(t *testing.T) {
	const clients, calls, limit = 12, 15, 100
	for s := range peerServers {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			m := meet(t, pair{client: "official", server: s}, fmt.Sprintf(
				`rules: [{name: limit, on: peer/echo, rate: {max: %d, per: 1h, by: server}, do: deny}]`, limit))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var mu sync.Mutex
			passed := 0
			var all sync.WaitGroup
			for i := range clients {
				p := pair{client: "official", server: s, revision: peerRevisions[i/2%3]}
				if i%2 == 0 && (pair{client: "mark3", server: s, revision: p.revision}).interoperate() {
					p.client = "mark3"
				}
				all.Go(func() {
					tr := &http.Transport{}
					defer tr.CloseIdleConnections()
					c := peerClients[p.client](overHTTP(m.url, &http.Client{Transport: tr}), p.revision, m.house.heard)
					if _, err := c.Connect(ctx); err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					for j := range calls {
						text := fmt.Sprintf("%d of %d", j, i)
						got, err := c.Call(ctx, "echo", map[string]any{"text": text}, false)
						switch {
						case err != nil:
							t.Errorf("%+v: %v", p, err)
						case strings.Contains(got, "Umpire denied peer/echo"):
						case strings.Contains(got, text):
							mu.Lock()
							passed++
							mu.Unlock()
						default:
							t.Errorf("%+v asked for %s and got %s", p, text, got)
						}
					}
				})
			}
			all.Wait()
			m.end()
			if ran := len(m.house.tools()); passed != limit || ran != limit {
				t.Errorf("%d of %d calls passed and %d ran, where %d may", passed, clients*calls, ran, limit)
			}
			m.check(t)
		})
	}
}
