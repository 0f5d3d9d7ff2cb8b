package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
)

// open opens the history for reading.
func (a *app) open() (r history.Reader, live bool, err error) {
	state, err := config.StateDir(a.state)
	if err != nil {
		return nil, false, err
	}
	if a.past {
		state = filepath.Join(state, pastDir)
	}
	r, live, err = history.Open(state)
	if err != nil {
		return nil, false, err
	}
	return a.watch(r), live, nil
}

func (a *app) sessions() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List the recorded sessions",
		RunE: func(*cobra.Command, []string) error {
			r, _, err := a.open()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // it was only read
			list, err := r.Sessions()
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				for _, s := range list {
					if err := enc.Encode(s); err != nil {
						return err
					}
				}
				return nil
			}
			p := view.New(a.stdout)
			rows := [][]string{{"SESSION", "AGENT", "SERVERS", "CALLS", "DENIED", "HELD", "NOTED", "FAILED", "LAST ACTIVE"}}
			for _, s := range list {
				rows = append(rows, []string{
					s.ID, view.Text(s.Agent, 40), view.Text(strings.Join(s.Servers, ", "), 60), fmt.Sprint(s.Calls),
					fmt.Sprint(s.Denied), fmt.Sprint(s.Held), fmt.Sprint(s.Logged), fmt.Sprint(s.Failed), view.Time(s.Active, time.Now()),
				})
			}
			if imported(r) {
				p.Line("an imported history: it is for reading, and nothing live is judged by it")
			}
			if len(list) == 0 {
				p.Line("no sessions yet")
			} else {
				p.Table(rows)
			}
			return p.Err()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one session a line")
	return cmd
}
