package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/inventory"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// maxAccept is how many bytes name the tools that a person accepts at once.
const maxAccept = 32 << 20

// accept takes in which tools a person accepts. Who can open the socket, or was let into the console, is the user who runs the
// daemon.
func (d *Daemon) accept(w http.ResponseWriter, r *http.Request) {
	var list []event.Accepted
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAccept))
	body.DisallowUnknownFields()
	if err := body.Decode(&list); err != nil {
		http.Error(w, "want servers, with the names and pins of their tools", http.StatusBadRequest)
		return
	}
	switch err := d.gate.Accept("local:"+d.user, list); {
	case errors.Is(err, proxy.ErrNotRecorded):
		http.Error(w, "the tools were "+err.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		d.answer(w, struct{}{}, nil)
	}
}

// definition is what a person looks at before a tool is accepted.
type definition struct {
	Pin         string            `json:"pin"` // of the newest definition
	Doubts      []doubt           `json:"doubts"`
	Comparisons []view.Comparison `json:"comparisons"`
}

type doubt struct {
	event.Doubt
	Seq uint64 `json:"seq"`
}

// definition answers with what is doubtful about a tool, and how it is described.
func (d *Daemon) definition(w http.ResponseWriter, r *http.Request) {
	inv, err := inventory.Read(d.db)
	if err != nil {
		d.answer(w, nil, err)
		return
	}
	q := r.URL.Query()
	e := inv.Catalog.Find(q.Get("server"), q.Get("tool"))
	if e == nil {
		http.Error(w, "its server never listed it", http.StatusNotFound)
		return
	}
	out := definition{Pin: e.Now.Pin, Doubts: []doubt{}, Comparisons: view.Comparisons(e)}
	for _, x := range e.Doubts {
		out.Doubts = append(out.Doubts, doubt{x.Doubt, x.Seq})
	}
	d.answer(w, out, nil)
}

// Accept records in a history of which no daemon is the owner that its user accepts tools. The policy is the one that was
// in force last.
func Accept(stateDir string, loaded *event.Loaded, list []event.Accepted, log *slog.Logger) error {
	return withGate(stateDir, loaded, log, func(g *proxy.Gate, who string) error { return g.Accept(who, list) })
}

// Revoke records in such a history that its user ends an exception.
func Revoke(stateDir string, loaded *event.Loaded, exception uint64, note string, log *slog.Logger) error {
	return withGate(stateDir, loaded, log, func(g *proxy.Gate, who string) error { return g.Revoke(exception, who, note) })
}

// withGate opens a history for one thing that its user wants to be recorded.
func withGate(stateDir string, loaded *event.Loaded, log *slog.Logger, record func(g *proxy.Gate, who string) error) (err error) {
	name, err := userName()
	if err != nil {
		return err
	}
	policy, err := rules.Compile(loaded.Sources, loaded.Env)
	if err != nil {
		return fmt.Errorf("the policy that was in force last: %w", err)
	}
	db, err := store.Open(store.Config{Path: filepath.Join(stateDir, config.HistoryFile), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	gate, err := proxy.NewGate(proxy.GateConfig{Recorder: db, Policy: policy, Log: log})
	if err != nil {
		return err
	}
	defer gate.Close()
	return record(gate, "local:"+name)
}
