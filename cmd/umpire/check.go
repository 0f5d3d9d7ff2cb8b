package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/document"
	"github.com/umpire-dev/umpire/rules/event"
)

func (a *app) check() *cobra.Command {
	var asJSON, schema bool
	cmd := &cobra.Command{
		Use:   "check [FILE…]",
		Short: "Check policies and the configuration",
		Long: "Check compiles policies or configurations and prints what is wrong with them: file, line, column, the line itself\n" +
			"and a hint. It warns of what is probably not meant: rules that can never match or that another rule hides, steps that\n" +
			"calls escape. Several policy files are one policy. Without FILE it checks the configuration that serve would use.",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if schema {
				_, err := fmt.Fprint(a.stdout, rules.JSONSchema())
				return err
			}
			p, cfg, err := a.compile(args)
			var problems document.Errors
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			var warnings document.Errors
			if p != nil {
				warnings = append(p.Warnings(cfg.Names(), cfg.History.Keep), p.Expired(event.At(time.Now()))...)
			}
			if asJSON {
				return a.checkJSON(problems, warnings)
			}
			for _, w := range warnings {
				fmt.Fprintln(a.stdout, "warning:", w.Detail())
			}
			if problems != nil {
				return problems
			}
			out := view.New(a.stdout)
			out.Line(fmt.Sprintf("ok: %d %s, policy %.12s", p.Len(), plural(p.Len(), "rule", "rules"), p.Digest()))
			return out.Err()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON, one a line")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of policy files, for editors")
	return cmd
}

// compile compiles the files, or what serve would use.
func (a *app) compile(files []string) (p *rules.Policy, cfg config.Config, err error) {
	cfg = config.Default()
	files, err = absolute(files)
	if err != nil {
		return nil, cfg, err
	}
	if len(files) == 0 {
		path, err := config.Find(a.config, false)
		if err != nil {
			return nil, cfg, err
		}
		if path != "" {
			files = []string{path}
		}
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, cfg, err
		}
		if !isConfig(string(text)) {
			cfg.Policies = append(cfg.Policies, f)
			continue
		}
		if cfg.Path != "" {
			return nil, cfg, usageError{errors.New("more than one configuration")}
		}
		loaded, err := config.Load(f)
		if err != nil {
			return nil, cfg, err
		}
		loaded.Policies = append(cfg.Policies, loaded.Policies...)
		cfg = loaded
	}
	sources, err := cfg.Sources()
	if err != nil {
		return nil, cfg, err
	}
	p, err = rules.Compile(sources, config.Env())
	return p, cfg, err
}

// isConfig tells a configuration from a policy by the fields that only a configuration has.
func isConfig(text string) bool {
	doc, err := document.Parse("", text)
	if err != nil {
		return false // its errors are reported as those of a policy
	}
	_, ok := doc.Only(config.Fields()...)
	return ok
}

func (a *app) checkJSON(problems, warnings document.Errors) error {
	type line struct {
		Level  string `json:"level"`
		File   string `json:"file"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
		Path   string `json:"path,omitempty"`
		Msg    string `json:"message"`
		Hint   string `json:"hint,omitempty"`
	}
	enc := json.NewEncoder(a.stdout)
	for _, list := range []struct {
		level string
		of    document.Errors
	}{{"error", problems}, {"warning", warnings}} {
		for _, e := range list.of {
			if err := enc.Encode(line{list.level, e.File, e.Line, e.Col, e.Path, e.Msg, e.Hint}); err != nil {
				return err
			}
		}
	}
	if len(problems) > 0 {
		return exitStatus(1)
	}
	return nil
}
