package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/rules/event"
)

// api is what the daemon offers on its unix socket: the pipes of shims, and for the commands the history and what changes
// it. Only the user who runs the daemon can open the socket.
func (d *Daemon) api() http.Handler {
	mux := http.NewServeMux()
	pipes := &transport.Pipes{Serve: d.attach, Connect: d.reach}
	pipes.Register(mux)
	d.records(mux)
	mux.HandleFunc("GET /v1/pruned", func(w http.ResponseWriter, _ *http.Request) {
		out, err := d.db.Pruned()
		d.answer(w, out, err)
	})
	mux.HandleFunc("POST /v1/baseline", d.promote)
	mux.HandleFunc("GET /v1/check", func(w http.ResponseWriter, _ *http.Request) {
		problem := ""
		if err := d.db.Check(); err != nil {
			problem = err.Error()
		}
		d.answer(w, problem, nil)
	})
	mux.HandleFunc("GET /v1/events", d.events)
	mux.HandleFunc("POST /v1/console", d.openConsole)
	mux.Handle("/v1/turns", conversation.Turns{
		Ear: d.ear, Principal: func(http.ResponseWriter, *http.Request) (string, bool) { return "local:" + d.user, true },
	})
	mux.Handle("POST /v1/hooks/{client}", d.alive(http.HandlerFunc(d.hooked)))
	return mux
}

// ofCall answers what the history knows of a call.
func (d *Daemon) ofCall(look func(call uint64) (uint64, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
		if err != nil {
			http.Error(w, "want the number of a call", http.StatusBadRequest)
			return
		}
		out, err := look(seq)
		d.answer(w, out, err)
	}
}

func (d *Daemon) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		d.opts.Log.Debug("a command went away", "error", err)
	}
}

// events streams the log, one event a line.
func (d *Daemon) events(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
	if err != nil {
		http.Error(w, "want from=SEQ", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	events := d.db.Raw(from)
	follow := r.URL.Query().Get("follow") != ""
	if follow {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(d.ctx, cancel)() // who waits for more must not keep the daemon from ending
		events = d.db.Watch(ctx.Done(), from)
	}
	control := http.NewResponseController(w)
	for raw, err := range events {
		if err != nil {
			d.opts.Log.Error("the history cannot be read", "error", err)
			panic(http.ErrAbortHandler) // the reader must not take this for the end
		}
		if _, err := w.Write(append(raw, '\n')); err != nil {
			return
		}
		if follow && control.Flush() != nil {
			return
		}
	}
}

// stdioOrigin says who a shim connects.
func stdioOrigin(link, user string, hello transport.Hello) proxy.Origin {
	return proxy.Origin{
		Link: link, Server: hello.Name, Transport: proxy.TransportStdio,
		Peer: event.Peer{Principal: "local:" + user, Workspace: hello.Workspace, Process: hello.Process, Asserted: hello.Asserted},
	}
}

func eventTime(t time.Time) event.Time { return event.At(t) }
