package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/event"
)

// What a server says while its client does not listen is kept, as far as there is room; that the oldest are lost is noted.
func TestWhatAClientDoesNotListenToIsKeptAsFarAsThereIsRoom(t *testing.T) {
	const room = 1000
	s := relayed(t, "rules: []")
	began := make(chan answer)
	go func() { began <- s.post(initialize) }()
	server := receive(t, s.servers, "the server")
	server.Read()
	server.Write([]byte(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}`))
	id := "Mcp-Session-Id: " + receive(t, began, "the answer").Header.Get("Mcp-Session-Id")
	news := func(n int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":%d}}`, n)
	}
	const lost = 3
	for n := range room + lost {
		server.Write([]byte(news(n)))
	}
	await(s.front, "the third signal", func(_ event.Event, _ *event.Signal) bool {
		n := 0
		for _, other := range log(t, s.disk) {
			if b, ok := other.Body.(*event.Signal); ok && b.Name == "unheard" && strings.Contains(b.Text, `"notifications/message"`) {
				n++
			}
		}
		return n == lost
	})
	listen := listener(s.open(s.request(t.Context(), http.MethodGet, "", id)))
	for n := lost; n < room+lost; n++ {
		if got := s.next(listen); !strings.Contains(got, news(n)) {
			t.Fatalf("%s, want %d", got, n)
		}
	}
	server.Close()
}
