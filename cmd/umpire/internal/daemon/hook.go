package daemon

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// hooked takes in what umpire hook was told, over the socket: only the user who runs the daemon can say it.
func (d *Daemon) hooked(w http.ResponseWriter, r *http.Request) {
	client := hook.Find(r.PathValue("client"))
	if client == nil {
		http.Error(w, "the hooks of this client are not known", http.StatusNotFound)
		return
	}
	raw, err := body(w, r)
	if err != nil {
		d.answer(w, client.Refuse(raw, err), nil)
		return
	}
	d.answer(w, d.hooks.Hear(r.Context(), client, raw, hook.Caller{
		Principal: "local:" + d.user, Roots: r.URL.Query()["root"], Believed: true,
	}), nil)
}

// hookURL serves /hooks/CLIENT, for clients that post instead of running a command. Without a token, any program of this
// machine can post there: what it says is heard, and not believed.
func (d *Daemon) hookURL(client *hook.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		principal, ok := d.guard.Principal(w, r)
		if !ok {
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
			http.Error(w, "a page in a browser cannot use this path", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "hooks are posted", http.StatusMethodNotAllowed)
			return
		}
		raw, err := body(w, r)
		var answer hook.Answer
		if err != nil {
			answer = client.Refuse(raw, err)
		} else {
			home, _ := os.UserHomeDir() //nolint:errcheck // then its transcripts are not read
			answer = d.hooks.Hear(r.Context(), client, raw, hook.Caller{
				Principal: principal, Roots: client.Roots(os.Getenv, home), Believed: d.guard.Token != "",
			})
		}
		if answer.Exit != 0 && answer.Stdout == "" {
			http.Error(w, answer.Stderr, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if answer.Stdout == "" {
			answer.Stdout = "{}"
		}
		io.WriteString(w, answer.Stdout) //nolint:errcheck,gosec // JSON; the client is gone, and nothing is left to do for it
	}
}

// body reads what a hook tells. If that is too long, it returns the beginning with the error.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxSize))
	if long := (*http.MaxBytesError)(nil); errors.As(err, &long) {
		err = fmt.Errorf("what the hook tells is longer than %d MiB, so it is not heard", long.Limit>>20)
	}
	return raw, err
}
