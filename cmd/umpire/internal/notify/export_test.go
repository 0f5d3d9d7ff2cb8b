package notify

import "net/http"

// Through sends the webhook through rt instead of the network.
func Through(cfg Config, rt http.RoundTripper) Config {
	cfg.transport = rt
	return cfg
}

// Command is what shows a notification.
func Command(system, title, text string) (args, env []string) {
	p := command(system, title, text)
	return p.args, p.env
}

// Words is what a notification says.
var Words = words
