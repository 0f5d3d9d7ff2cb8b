package daemon

import (
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
)

// maxName is how many bytes the name of a file can have.
const maxName = 4 << 10

// promote puts a baseline into force. Who can open the socket is the user who runs the daemon.
func (d *Daemon) promote(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	file, err := io.ReadAll(http.MaxBytesReader(w, r.Body, baseline.MaxSize))
	if err != nil || name == "" || len(name) > maxName {
		http.Error(w, "want a baseline, and the name of its file", http.StatusBadRequest)
		return
	}
	switch err := d.gate.Promote("local:"+d.user, name, file); {
	case errors.Is(err, proxy.ErrNotRecorded):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		d.answer(w, struct{}{}, nil)
	}
}

// Promote puts a baseline into force in a history of which no daemon is the owner. The policy is the one that was in force
// last.
func Promote(stateDir string, loaded *event.Loaded, name string, file []byte, log *slog.Logger) error {
	return withGate(stateDir, loaded, log, func(gate *proxy.Gate, who string) error { return gate.Promote(who, name, file) })
}
