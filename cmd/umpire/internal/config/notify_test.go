package config_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/rules/document"
)

// A person is told where he can be, and programs elsewhere when somebody has set that up.
func TestNotificationsAreOnAndAWebhookIsNot(t *testing.T) {
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	t.Setenv("HOOK_SECRET", secret)
	cfg, err := load(t, "listen: 127.0.0.1:1")
	if err != nil || !cfg.Notify.Bell || !cfg.Notify.Desktop || cfg.Notify.Webhook != nil {
		t.Errorf("%+v %v", cfg.Notify, err)
	}
	cfg, err = load(t, `notify: {desktop: false, bell: false, webhook: {url: "https://example.com/in?key=1", secret: "${HOOK_SECRET}"}}`)
	if err != nil || cfg.Notify.Bell || cfg.Notify.Desktop || cfg.Notify.Webhook.Host() != "https://example.com" {
		t.Errorf("%+v %v", cfg.Notify, err)
	}
	write(t, "umpire.yaml", `notify: {webhook: {url: "http://127.0.0.1:9/", secret_file: sub/secret}}`)
	if err := os.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("sub/secret", []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := config.Load("umpire.yaml")
	if err != nil || !reflect.DeepEqual(other.Notify.Webhook.Secret, cfg.Notify.Webhook.Secret) {
		t.Errorf("%+v %v", other.Notify, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if text := fmt.Sprintf(verb, *other.Notify.Webhook); strings.Contains(text, "0707") || strings.Contains(text, "7 7") || strings.Contains(text, secret[6:20]) {
			t.Errorf("%s prints the secret: %s", verb, text)
		}
	}
}

// What is wrong with a webhook is said without its secret.
func TestAWebhookThatIsNoneIsRefusedAndItsSecretNotShown(t *testing.T) {
	const key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="
	t.Setenv("HOOK_SECRET", "whsec_"+key)
	t.Setenv("SHORT_SECRET", "whsec_"+key[:8])
	for name, tc := range map[string]struct{ text, want string }{
		"plain http":             {`{url: "http://example.com/", secret: "${HOOK_SECRET}"}`, "http is for this machine alone"},
		"http to this network":   {`{url: "http://192.168.0.1/", secret: "${HOOK_SECRET}"}`, "http is for this machine alone"},
		"a name like this one":   {`{url: "http://localhost.example.com/", secret: "${HOOK_SECRET}"}`, "http is for this machine alone"},
		"no URL of the web":      {`{url: "file:///etc/passwd", secret: "${HOOK_SECRET}"}`, "want an https URL"},
		"a password":             {`{url: "https://ann:` + key + `@example.com/", secret: "${HOOK_SECRET}"}`, "without user, password"},
		"no URL":                 {`{secret: "${HOOK_SECRET}"}`, "want a url"},
		"no secret":              {`{url: "https://example.com/"}`, "want either secret or secret_file"},
		"two secrets":            {`{url: "https://example.com/", secret: "${HOOK_SECRET}", secret_file: x}`, "want either secret or secret_file"},
		"a secret right there":   {`{url: "https://example.com/", secret: whsec_` + key + `}`, "does not belong into the configuration"},
		"a secret that is short": {`{url: "https://example.com/", secret: "${SHORT_SECRET}"}`, "24 to 64 bytes"},
		"a file that is not":     {`{url: "https://example.com/", secret_file: none}`, "the secret cannot be read"},
		"a variable that is not": {`{url: "https://example.com/", secret: "${NO_SUCH_SECRET}"}`, "no variable NO_SUCH_SECRET"},
		"another field":          {`{url: "https://example.com/", token: x}`, "unknown field"},
	} {
		_, err := load(t, "notify:\n  webhook: "+tc.text)
		var all document.Errors
		if !errors.As(err, &all) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, e := range all {
			if strings.Contains(e.Detail(), key[:8]) {
				t.Errorf("%s: the secret is shown: %s", name, e.Detail())
			}
		}
	}
	for _, bad := range []string{"notify: yes please", "notify: {desktop: 1}", "notify: {bell: loud}", "notify: {email: a@b}"} {
		if _, err := load(t, bad); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}
