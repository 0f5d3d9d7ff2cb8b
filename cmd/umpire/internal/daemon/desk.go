package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/review"
)

// desk is the part of the API with which people decide about calls on hold. Whoever can reach it is the user who runs the daemon.
func (d *Daemon) desk(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/held/{seq}", d.decision(func(call uint64, by review.Decision) (any, error) {
		return d.gate.Desk().Decide(call, by)
	}))
	mux.HandleFunc("POST /v1/held/{seq}/proposal", d.decision(func(call uint64, by review.Decision) (any, error) {
		return d.gate.Desk().Propose(call, by)
	}))
	mux.HandleFunc("GET /v1/exceptions", func(w http.ResponseWriter, _ *http.Request) {
		list, err := d.gate.Exceptions()
		d.answer(w, list, err)
	})
	mux.HandleFunc("POST /v1/exceptions/{seq}/revoked", d.decision(func(exception uint64, by review.Decision) (any, error) {
		return struct{}{}, d.gate.Revoke(exception, by.Who, by.Note)
	}))
}

// decision takes the decision of a person in.
func (d *Daemon) decision(take func(seq uint64, by review.Decision) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
		by := review.Decision{}
		if err == nil {
			body := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
			body.DisallowUnknownFields()
			err = body.Decode(&by)
		}
		if err != nil {
			http.Error(w, "want the number of a call, and what is decided about it", http.StatusBadRequest)
			return
		}
		by.Who = "local:" + d.user
		out, err := take(seq, by)
		switch {
		case errors.Is(err, review.ErrGone):
			http.Error(w, err.Error(), http.StatusConflict)
		case errors.Is(err, proxy.ErrNotRecorded):
			http.Error(w, "the decision was "+err.Error(), http.StatusServiceUnavailable)
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		default:
			d.answer(w, out, nil)
		}
	}
}
