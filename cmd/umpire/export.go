package main

import (
	"bufio"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/replay"
	"github.com/umpire-dev/umpire/rules/transcript"
)

func (a *app) export() *cobra.Command {
	var f filter
	asTest, format, schema := "", "", false
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the recorded events as JSON, one a line, calls as CSV or OCSF, or a call as a test",
		Long: "Export prints events as they are stored: one JSON object a line, with seq, at, session, cause and the body under\n" +
			"the name of its kind. All of them together are what umpire import reads. --schema prints the JSON Schema of such a line.\n\n" +
			"--format csv prints one call a line, with times of your zone: call, time, session, principal, agent, server, tool,\n" +
			"arguments, first_verdict (hold, of a call that waited), verdict, rule, why, outcome and ended. An apostrophe stands\n" +
			"before what a spreadsheet would take to be a formula.\n\n" +
			"--format ocsf prints OCSF 1.5.0, one JSON object a line: an API Activity (6003) for every call, and a Detection\n" +
			"Finding (2004) for each that is held or denied; that of a hold is closed when the hold has ended.\n\n" +
			"Export --as-test CALL prints a recorded call as a case for umpire test: the policy that was in force, what led to the\n" +
			"verdict, as little of it as gives the same one, and the verdict. Secrets are taken out of it as they are of the history.",
		Example: "  umpire export --since 24h | jq 'select(.verdict.action == \"deny\")'\n  umpire export --format csv > calls.csv\n  umpire export --as-test 41 > incident.txtar",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if schema {
				_, err := fmt.Fprint(a.stdout, event.JSONSchema())
				return err
			}
			if err := f.prepare(time.Now()); err != nil {
				return err
			}
			write := map[string]func(history.Reader, *filter) error{"jsonl": a.exportEvents, "csv": a.exportCSV, "ocsf": a.exportOCSF}[format]
			if write == nil {
				return usageError{fmt.Errorf("--format %s: want jsonl, csv or ocsf", format)}
			}
			r, _, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			if cmd.Flags().Changed("as-test") {
				return a.exportTest(cmd, r, asTest)
			}
			if err := f.named(r); err != nil {
				return err
			}
			return write(r, &f)
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&asTest, "as-test", "", "print this `CALL` as a case for umpire test")
	cmd.Flags().StringVar(&format, "format", "jsonl", "`jsonl`, csv or ocsf")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the events, for other programs")
	return cmd
}

func (a *app) exportEvents(r history.Reader, f *filter) error {
	out := bufio.NewWriterSize(a.stdout, exportBuffer)
	from, err := begin(r, f.from)
	if err != nil {
		return err
	}
	g := grouper{filter: f}
	var text []byte
	for e, err := range history.Events(r, from) {
		if err != nil {
			return err
		}
		for _, e := range g.add(e) {
			if text, err = e.AppendJSON(text[:0]); err == nil {
				text = append(text, '\n')
				_, err = out.Write(text)
			}
			if err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// exportBuffer is how much is written at once.
const exportBuffer = 64 << 10

func (a *app) exportCSV(r history.Reader, f *filter) error {
	return interchange.CSV(a.stdout, again(r), f.about, time.Local)
}

func (a *app) exportOCSF(r history.Reader, f *filter) error {
	out := bufio.NewWriterSize(a.stdout, exportBuffer)
	if err := interchange.OCSF(out, again(r), f.about, version()); err != nil {
		return err
	}
	return out.Flush()
}

// again returns the events of r, to be read as often as it takes.
func again(r history.Reader) interchange.History {
	return func(from uint64) iter.Seq2[event.Event, error] { return history.Events(r, from) }
}

// exportTest prints a call as a test.
func (a *app) exportTest(cmd *cobra.Command, r history.Reader, name string) error {
	for _, other := range []string{"session", "server", "tool", "since", "format"} {
		if cmd.Flags().Changed(other) {
			return usageError{fmt.Errorf("--as-test and --%s: a test is about one call", other)}
		}
	}
	call, err := callNamed(r, name)
	if err != nil {
		return err
	}
	text, err := transcript.Record(replay.History(again(r)), call.Seq)
	if err == nil {
		_, err = a.stdout.Write(text)
	}
	return err
}
