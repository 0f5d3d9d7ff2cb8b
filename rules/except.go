package rules

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/rules/canonical"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/expr"
)

// digestPrefix begins the args: of an exception that says them by their digest.
const digestPrefix = "sha256:"

// exemption reads an entry of except:.
func (c *compiler) exemption(n document.Node) exemption {
	x := exemption{who: "the policy", at: n}
	said := func(text string) *string { return &text }
	narrow := false
	for _, f := range n.Fields("on", "principal", "agent", "workspace", "args", "with", "until", "note") {
		narrow = narrow || f.Name != "until" && f.Name != "note"
		switch f.Name {
		case "on":
			for _, g := range f.Value.List(true) {
				x.on = append(x.on, c.glob(g))
			}
		case "principal":
			x.caller.principal = said(f.Value.Text())
		case "agent":
			x.caller.agent = said(f.Value.Text())
		case "workspace":
			x.caller.workspace = said(f.Value.Text())
		case "args":
			x.args = argsDigest(f.Value)
		case "with":
			for _, a := range f.Value.Fields() {
				path, err := expr.ParseArgPath(a.Name)
				if err != nil {
					a.FailKey("", "%v", err)
				}
				value, ok := expr.ParseScalar(a.Value.JSON())
				if !ok {
					a.Value.Fail("", "want a text, a number or a boolean")
				}
				x.with = append(x.with, argument{path, value})
			}
		case "until":
			x.until = until(f.Value)
		case "note":
			f.Value.Text()
		}
	}
	switch {
	case x.until == 0:
		n.Fail("what holds for ever belongs into the where of the rule", "an exception without until")
	case !narrow:
		n.Fail("on, principal, agent, workspace, args or with", "an exception that does not say from what")
	}
	return x
}

// argsDigest reads arguments, or what names them.
func argsDigest(n document.Node) string {
	if !n.IsText() {
		if args := n.JSON(); len(args) > 0 && args[0] == '{' {
			return canonical.Digest(args)
		}
		n.Fail("", "want all arguments, {name: value}, or sha256: and the digest of their canonical form")
		return ""
	}
	digest, ok := strings.CutPrefix(n.Text(), digestPrefix)
	if !ok || len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "" {
		n.Fail("", "want sha256: and 64 hexadecimal digits, or all arguments, {name: value}")
	}
	return digest
}

func until(n document.Node) event.Time {
	text := n.Text()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err != nil || at.Year() < 1970 || at.Year() > 2200 {
		n.Fail("write 2026-12-01T08:00:00Z, or 2026-12-01 for its first moment in UTC", "%q is no time", text)
		return 1
	}
	return event.At(at)
}

// definition names what a rule says, but for its exceptions.
func definition(n document.Node) string {
	said := map[string]json.RawMessage{}
	for _, f := range n.Fields() {
		if f.Name == "except" {
			continue
		}
		text := f.Value.JSON()
		if text == nil {
			return "" // an error that is reported
		}
		said[f.Name] = text
	}
	text, err := json.Marshal(said)
	if err != nil {
		n.Fail("", "%v", err)
		return ""
	}
	return canonical.Digest(text)
}

// Expired returns the exceptions of p that are over at the given time, as warnings.
func (p *Policy) Expired(at event.Time) (out document.Errors) {
	for _, r := range p.rules {
		for _, x := range r.except {
			if at >= x.until {
				out = append(out, x.at.Error("remove it", "rule %s has an exception that is over since %s", r.name, x.until.Time().Format(time.RFC3339)))
			}
		}
	}
	return out
}
