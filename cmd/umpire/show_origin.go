package main

import (
	"strings"
	"unicode/utf8"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// quotes adds what stands where the values of a call came from.
func quotes(r history.Reader, c *view.Call) error {
	v, ok := c.Verdict.Body.(*event.Verdict)
	if !ok {
		return nil
	}
	for _, o := range v.Origins {
		at := o.Seq
		e, found, err := history.Get(r, at)
		if err == nil && found && e.Body.Kind() == (&event.Call{}).Kind() {
			if at, err = r.ResultOf(o.Seq); err == nil && at != 0 {
				e, found, err = history.Get(r, at)
			}
		}
		if err != nil {
			return err
		}
		if found {
			c.Quotes = append(c.Quotes, quote(o, e))
		}
	}
	return nil
}

// around is how much is shown on either side of a value.
const around = 40

// quote cuts a value with what stands around it out of a turn or a result.
func quote(o event.Origin, e event.Event) view.Quote {
	q := view.Quote{Origin: o, Event: e.Seq}
	text := ""
	switch b := e.Body.(type) {
	case *event.Turn:
		q.At, text = "text", b.Text
	case *event.Result:
		q.At, text = rules.PathAt(b, o.From), rules.Texts(b)
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Closed:
	}
	if o.To > o.From && o.To <= len(text) {
		q.Before, q.Value, q.After = text[:o.From], text[o.From:o.To], text[o.To:]
		q.Before = q.Before[strings.LastIndexByte(q.Before, '\n')+1:]
		if i := len(q.Before) - around; i > 0 {
			q.Before = "…" + strings.TrimLeftFunc(q.Before[i:], broken)
		}
		q.After, _, _ = strings.Cut(q.After, "\n")
		if len(q.After) > around {
			q.After = strings.TrimRightFunc(q.After[:around], broken) + "…"
		}
	}
	return q
}

func broken(r rune) bool { return r == utf8.RuneError }
