package interchange

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules/event"
)

// Columns are the columns of CSV, in order.
var Columns = []string{
	"call", "time", "session", "principal", "agent", "server", "tool", "arguments",
	"first_verdict", "verdict", "rule", "why", "outcome", "ended",
}

// CSV writes one call a line, as RFC 4180 has it, with times of the zone. What comes from elsewhere is shown as text: control
// and invisible characters are escaped, and an apostrophe stands before what a spreadsheet would take to be a formula.
func CSV(w io.Writer, history History, about About, zone *time.Location) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(Columns); err != nil {
		return err
	}
	at := func(t event.Time) string { return t.Time().In(zone).Format("2006-01-02T15:04:05.000Z07:00") }
	err := walk(history, about, func(c *call, s stage) error {
		if s == settled {
			return nil // its line has it already
		}
		row := []string{
			strconv.FormatUint(c.Seq, 10), at(c.At), c.Session, cell(c.Principal), cell(c.Agent), cell(c.Server), cell(c.Tool), cell(string(c.Args)),
			"seen", "seen", cell(c.rule()), cell(c.last().Why), string(c.end.outcome), "",
		}
		if !c.Seen {
			row[8], row[9] = c.first.Action.String(), c.last().Action.String()
		}
		if c.end.at != 0 {
			row[13] = at(c.end.at)
		}
		return out.Write(row)
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	if err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	return nil
}

// cell makes a text safe for a spreadsheet. Blanks in front do not hide what begins a formula, nor do the full-width forms that
// some programs read as the plain ones.
func cell(s string) string {
	s = view.Text(s, 0)
	if begins := strings.TrimLeftFunc(s, unicode.IsSpace); begins != "" && strings.ContainsAny(begins[:len(string([]rune(begins)[0]))], "=+-@=+-@") {
		return "'" + s
	}
	return s
}
