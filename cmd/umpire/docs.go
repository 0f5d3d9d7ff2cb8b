package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// docs is for the release build: packages bring what it writes.
func (a *app) docs() *cobra.Command {
	return &cobra.Command{
		Use:    "docs DIR DATE",
		Short:  "Write the man pages and the completions of shells",
		Long:   "Docs writes a man page of every command to DIR/man and what completes them to DIR/completions, dated DATE (RFC 3339).",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := time.Parse(time.RFC3339, args[1])
			if err != nil {
				return usageError{fmt.Errorf("%q is no date such as 2026-11-23T08:00:00Z", args[1])}
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // it says the day
			root.InitDefaultCompletionCmd()
			files := map[string][]byte{}
			if err := pages(root, &date, files); err != nil {
				return err
			}
			for name, generate := range map[string]func(*bytes.Buffer) error{
				"umpire.bash": func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
				"umpire.zsh":  func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
				"umpire.fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
				"umpire.ps1":  func(b *bytes.Buffer) error { return root.GenPowerShellCompletionWithDesc(b) },
			} {
				var b bytes.Buffer
				if err := generate(&b); err != nil {
					return err
				}
				files[filepath.Join("completions", name)] = b.Bytes()
			}
			for name, text := range files {
				path := filepath.Join(args[0], name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // it is for everybody
					return err
				}
				if err := os.WriteFile(path, text, 0o644); err != nil { //nolint:gosec // as above
					return err
				}
			}
			return nil
		},
	}
}

// pages adds the man pages of cmd and of the commands below it.
func pages(cmd *cobra.Command, date *time.Time, files map[string][]byte) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := doc.GenMan(cmd, &doc.GenManHeader{Section: "1", Date: date, Source: "Umpire", Manual: "Umpire"}, z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	name := bytes.ReplaceAll([]byte(cmd.CommandPath()), []byte(" "), []byte("-"))
	files[filepath.Join("man", string(name)+".1.gz")] = b.Bytes()
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			if err := pages(c, date, files); err != nil {
				return err
			}
		}
	}
	return nil
}
