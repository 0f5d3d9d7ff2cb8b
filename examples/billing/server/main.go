// Server runs the billing example: go run ./examples/billing/server (over stdio), or with -http 127.0.0.1:9001.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/server"

	"github.com/umpire-dev/umpire/examples/billing"
)

func main() {
	addr := flag.String("http", "", "`HOST:PORT` to serve Streamable HTTP on, at /mcp; stdio if empty")
	flag.Parse()
	shop := billing.NewShop(200)
	if *addr == "" {
		if err := server.ServeStdio(shop.Server()); err != nil {
			log.Fatal(err)
		}
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", shop.Handler())
	log.Printf("billing on http://%s/mcp", *addr)
	s := &http.Server{Addr: *addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(s.ListenAndServe())
}
