package config

import (
	"errors"
	"fmt"
	"os"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/rules/document"
)

// notified reads notify: of the configuration file at path.
func notified(to *Notify, n document.Node, path string) {
	for _, f := range n.Fields("desktop", "bell", "webhook") {
		switch f.Name {
		case "desktop":
			to.Desktop = f.Value.Bool()
		case "bell":
			to.Bell = f.Value.Bool()
		case "webhook":
			to.Webhook = webhook(f, path)
		}
	}
}

func webhook(f document.Field, path string) *notify.Endpoint {
	to := &notify.Endpoint{}
	urls, secrets := 0, 0
	for _, g := range f.Value.Fields("url", "secret", "secret_file") {
		var err error
		hint := ""
		switch g.Name {
		case "url":
			urls++
			to.URL, err = notify.ParseURL(expand(g.Value))
		case "secret":
			secrets++
			if variable.MatchString(g.Value.Scalar()) {
				if text := expand(g.Value); text != "" { // else that is said
					to.Secret, err = notify.ParseSecret(text)
				}
			} else {
				err = errors.New("a secret does not belong into the configuration")
				hint = "write ${NAME} for a variable of the environment, or secret_file: FILE"
			}
		case "secret_file":
			secrets++
			to.Secret, err = secretFile(relative(path, g.Value.Text()))
		}
		if err != nil {
			g.Value.FailUnseen(hint, "%v", err)
		}
	}
	if urls == 0 {
		f.FailKey("", "webhook: want a url")
	}
	if secrets != 1 {
		f.FailKey("echo whsec_$(openssl rand -base64 32) > FILE", "webhook: want either secret or secret_file, by which the receiver knows that it is you")
	}
	return to
}

// secretFile reads a secret from a file. Nothing that is in it becomes part of an error.
func secretFile(path string) (notify.Secret, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return notify.Secret{}, fmt.Errorf("the secret cannot be read: %w", err)
	}
	return notify.ParseSecret(string(text))
}
