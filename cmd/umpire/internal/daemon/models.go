package daemon

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy/conversation"
)

// modelPath is where the model APIs are: what comes after it and the name of the API is the API's own.
const modelPath = "/model/"

// withModels serves the model APIs at /model/NAME/…, and hears what is said there. It is for the programs of this machine alone:
// elsewhere, Umpire's bearer token would take the place of the API's.
func (d *Daemon) withModels(next http.Handler) (http.Handler, error) {
	if !config.IsLoopback(d.opts.Config.Listen) {
		return next, nil
	}
	apis := map[string]*conversation.Model{}
	for _, name := range slices.Sorted(maps.Keys(d.opts.Config.Model)) {
		m, err := conversation.NewModel(conversation.ModelConfig{
			Name: name, URL: d.opts.Config.Model[name], Mount: modelPath + name, Ear: d.ear, Guard: d.guard, Until: d.ctx, Log: d.opts.Log,
		})
		if err != nil {
			return nil, err
		}
		apis[name] = m
		d.models = append(d.models, m)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), modelPath); ok { // before the mux, which would clean the path
			name, _, more := strings.Cut(rest, "/")
			if m := apis[name]; m != nil && more {
				m.ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	}), nil
}
