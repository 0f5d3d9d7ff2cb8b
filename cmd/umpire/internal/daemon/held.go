package daemon

import (
	"encoding/json"
	"net/http"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
)

// held answers with the calls that are on hold; with follow=1 it goes on, one line a change, until the daemon ends.
func (d *Daemon) held(w http.ResponseWriter, r *http.Request) {
	desk := d.gate.Desk()
	if r.URL.Query().Get("follow") == "" {
		d.answer(w, desk.List(), nil)
		return
	}
	now, feed := desk.Follow()
	defer feed.Stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	control, enc := http.NewResponseController(w), json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if enc.Encode(history.Desk{Held: now}) != nil || control.Flush() != nil {
		return
	}
	for more := true; more; {
		list, lost, goesOn := feed.Next(r.Context())
		if lost > 0 {
			panic(http.ErrAbortHandler) // whoever reads must not go on as if nothing were missing
		}
		for i := range list {
			if enc.Encode(history.Desk{Change: &list[i]}) != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		more = goesOn
	}
}
