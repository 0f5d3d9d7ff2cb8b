package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// toolbox opens MCP servers over HTTP that say what the script wants, and sets $TOOLBOX to their URL: the one at /NAME
// answers tools/list with what NAME.json holds at that moment, and every call with what TOOL.txt holds, or else "TOOL ran".
func toolbox(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: toolbox")
	}
	dir := ts.MkAbs(".")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{name}", func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct{ Name string }
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if m.ID == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		said := m.Params.Name + " ran"
		if text, err := os.ReadFile(dir + "/" + m.Params.Name + ".txt"); err == nil {
			said = string(text)
		}
		result := []byte(fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, said))
		switch m.Method {
		case "initialize":
			result = []byte(`{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"toolbox","version":"1"}}`)
		case "tools/list":
			var err error
			if result, err = os.ReadFile(dir + "/" + r.PathValue("name") + ".json"); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	})
	server := httptest.NewServer(mux)
	ts.Defer(server.Close)
	ts.Setenv("TOOLBOX", server.URL)
}
