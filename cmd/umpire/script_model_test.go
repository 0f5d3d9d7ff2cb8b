package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// model opens a model API that answers each request with the next of the files, *.sse as a stream of events, and sets $MODEL to
// its URL. What it is asked goes to asked.json.
func model(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: model FILE…")
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(args) == 0 || os.WriteFile(ts.MkAbs("asked.json"), body, 0o600) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		kind := "application/json"
		if strings.HasSuffix(args[0], ".sse") {
			kind = "text/event-stream"
		}
		args = args[1:]
		w.Header().Set("Content-Type", kind)
		io.Copy(w, bytes.NewReader(text))
	}))
	ts.Defer(api.Close)
	ts.Setenv("MODEL", api.URL)
}
