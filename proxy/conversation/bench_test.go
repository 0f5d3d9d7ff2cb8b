package conversation_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/umpire-dev/umpire/proxy/conversation"
)

// What it costs a client that somebody listens: a request of 256 KiB, as in the middle of a conversation, and a streamed answer of
// 500 events, through net/http's reverse proxy, through a Model that keeps nothing, and through one that hears.
func BenchmarkModel(b *testing.B) {
	var answer strings.Builder
	answer.WriteString("data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
	for range 500 {
		answer.WriteString("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n")
	}
	api := func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, answer.String())
	}
	var request strings.Builder
	request.WriteString(`{"messages":[`)
	for i := range 64 {
		fmt.Fprintf(&request, `{"role":"user","content":"%d %s"},`, i, strings.Repeat("word ", 800))
	}
	request.WriteString(`{"role":"user","content":"Go on."}]}`)

	run := func(b *testing.B, at string) {
		client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
		defer client.CloseIdleConnections()
		for b.Loop() {
			resp, err := client.Post(at+"/v1/messages", "application/json", strings.NewReader(request.String()))
			if err != nil {
				b.Fatal(err)
			}
			var body bytes.Buffer
			if n, err := body.ReadFrom(resp.Body); err != nil || n != int64(answer.Len()) {
				b.Fatal(n, err)
			}
			resp.Body.Close()
		}
	}
	b.Run("plain", func(b *testing.B) {
		booth := newBooth(b, api)
		s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: booth.URL.Host})
		}, FlushInterval: -1})
		defer s.Close()
		run(b, s.URL)
	})
	for _, keep := range []conversation.Keep{conversation.KeepOff, conversation.KeepText} {
		b.Run(string(keep), func(b *testing.B) {
			booth := newBooth(b, api, func(c *conversation.Config) { c.Keep = keep })
			run(b, booth.url)
			b.StopTimer()
			booth.close()
		})
	}
}

// What it costs a client of a WebSocket that somebody listens: an answer of 500 events on a connection that stays, through a Model
// that keeps nothing, and through one that hears.
func BenchmarkSocket(b *testing.B) {
	const n = 500
	for _, keep := range []conversation.Keep{conversation.KeepOff, conversation.KeepText} {
		for _, compressed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/compressed %v", keep, compressed), func(b *testing.B) {
				booth := newBooth(b, talks(b, nil, func(conn *websocket.Conn) {
					for {
						if _, _, err := conn.ReadMessage(); err != nil {
							return
						}
						conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.created","response":{"id":"r"}}`))
						for range n {
							conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.output_text.delta","output_index":0,"delta":"word "}`))
						}
						conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"response.completed","response":{"id":"r","output":[]}}`))
					}
				}), func(c *conversation.Config) { c.Keep = keep })
				conn := booth.dial(websocket.Dialer{EnableCompression: compressed}, "/v1/responses")
				for i := 0; b.Loop(); i++ {
					conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"response.create","input":"Go on, %d."}`, i))
					for range n + 2 {
						if _, _, err := conn.ReadMessage(); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StopTimer()
				conn.Close()
				booth.close()
			})
		}
	}
}
