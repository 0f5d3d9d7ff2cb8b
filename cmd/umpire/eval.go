package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
)

// evaluation is eval: by what to judge, and what to print.
type evaluation struct {
	policies []string
	tools    string
	asJSON   bool
	failures int
	half     int
	keep     conversation.Keep
	policy   *rules.Policy
	clean    *wire.Cleaner
	known    map[string][]event.Catalog // by path
	lists    sync.Mutex
	progress *view.Progress
}

func (a *app) eval() *cobra.Command {
	var e evaluation
	cmd := &cobra.Command{
		Use:   "eval [--policy FILE] FILE.jsonl…",
		Short: "Judge labelled sessions: which attacks are stopped, and who is hurt?",
		Long: "Eval judges recorded sessions of which people know what they were: one a line, with source, suite, label, events and\n" +
			"whatever else. Every session is made into events and judged as live traffic would be; the labels are read by the count\n" +
			"alone. An attack is stopped if every call that carries out its goal is denied or held; a session is hurt if a call is\n" +
			"stopped that should have passed. Intervals are Wilson's, of 95 %.\n\n" +
			"DIR/SOURCE_SUITE.json or DIR/SOURCE.json is the answer to tools/list of the servers of a session (SOURCE without its\n" +
			"last digits will do), and the same name with .system.txt what the agent was told beforehand.\n\n" +
			"Without --policy it is the starter policy.",
		Example: "  umpire eval --policy policy.yaml --failures 3 corpus/*.jsonl",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if e.half < 0 || e.half > 2 {
				return usageError{fmt.Errorf("--half %d: want 1 or 2, 0 for both", e.half)}
			}
			var err error
			if e.keep, err = e.keep.Valid(); err != nil {
				return usageError{fmt.Errorf("--conversation %q: want text, digest or off", e.keep)}
			}
			return a.evaluate(&e, files)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&e.policies, "policy", nil, "policy `FILE`; several are one policy")
	f.StringVar((*string)(&e.keep), "conversation", "text", "what the history has of what is said: `text`, digest or off")
	f.StringVar(&e.tools, "tools", "", "`DIR` of the lists of tools (default: tools next to FILE)")
	f.BoolVar(&e.asJSON, "json", false, "print the counts as JSON")
	f.IntVar(&e.failures, "failures", 0, "tell the stories of `N` sessions that came out otherwise than they should")
	f.IntVar(&e.half, "half", 0, "only one `HALF`, 1 or 2: goals are divided, to write a policy on one and to measure it on the other")
	return cmd
}

// prepare compiles the policy.
func (e *evaluation) prepare() error {
	sources := []event.Source{policies.Starter()}
	if len(e.policies) > 0 {
		sources = nil
	}
	for _, f := range e.policies {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		sources = append(sources, event.Source{Name: filepath.Base(f), Text: string(text)})
	}
	var err error
	if e.policy, err = rules.Compile(sources, event.Env{OS: "linux", Home: "/home/user"}); err != nil {
		return err
	}
	e.known = map[string][]event.Catalog{}
	e.clean, err = wire.NewCleaner(wire.CleanerConfig{MaxValue: config.Default().History.MaxValue, Secret: []byte("eval")})
	return err
}

// scored is a session that was judged, or why it could not be.
type scored struct {
	corpus.Scored
	err error
}

func (a *app) evaluate(e *evaluation, files []string) error {
	if err := e.prepare(); err != nil {
		return err
	}
	tables := corpus.Tables{}
	out := view.New(a.stdout)
	e.progress = view.NewProgress(a.stderr)
	defer e.progress.Close()
	e.progress.Begin("judging", sizeOf(files), view.Bytes)
	told := 0
	for _, f := range files {
		err := e.file(f, func(s *corpus.Scored) error {
			o := s.Outcome()
			tables.Add(s, o)
			if o.Missed() && told < e.failures && !e.asJSON {
				told++
				story(out, s)
			}
			return out.Err()
		})
		if err != nil {
			return err
		}
	}
	if e.asJSON {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"policy": e.policy.Digest(), "by": tables})
	}
	for _, by := range []string{corpus.BySource, corpus.BySuite, corpus.ByGoal, corpus.ByStyle} {
		if len(tables[by]) > 0 {
			out.Line()
			out.Table(table(tables, by))
		}
	}
	return out.Err()
}

// sizeOf returns the bytes of all files, as far as they can be found out.
func sizeOf(files []string) (n int64) {
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

// file judges the sessions of a file on every processor and gives them to each, in order.
func (e *evaluation) file(name string, each func(*corpus.Scored) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	r := bufio.NewReaderSize(f, 1<<20)
	batch := make([]scored, 64*runtime.GOMAXPROCS(0))
	for line, more := 0, true; more; {
		var texts [][]byte
		for len(texts) < len(batch) && more {
			text, err := r.ReadBytes('\n')
			if more = err == nil; !more && !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s: %w", name, err)
			}
			texts = append(texts, text)
		}
		e.batch(name, texts, batch)
		for i := range texts {
			switch line++; {
			case batch[i].err != nil:
				return fmt.Errorf("%s:%d: %w", name, line, batch[i].err)
			case batch[i].Labels.Source == "": // an empty line, or of the other half
				continue
			}
			if err := each(&batch[i].Scored); err != nil {
				return err
			}
		}
		for _, text := range texts {
			e.progress.Done(len(text))
		}
	}
	return nil
}

// batch judges the lines of a file on every processor.
func (e *evaluation) batch(name string, lines [][]byte, out []scored) {
	var wg sync.WaitGroup
	next := make(chan int, len(lines))
	for i := range lines {
		next <- i
	}
	close(next)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				out[i] = scored{}
				if len(bytes.TrimSpace(lines[i])) > 0 {
					out[i].err = e.judge(name, lines[i], &out[i].Scored)
				}
			}
		})
	}
	wg.Wait()
}

func (e *evaluation) judge(name string, line []byte, s *corpus.Scored) error {
	session, labels, err := corpus.Parse(line)
	if err != nil || e.half != 0 && labels.Half() != e.half {
		return err
	}
	dir := e.tools
	if dir == "" {
		dir = filepath.Join(filepath.Dir(name), "tools")
	}
	tools, system, err := e.surroundings(dir, &labels)
	if err != nil {
		return err
	}
	if system != "" {
		session.Events = append([]corpus.Event{{Type: "system", Text: system}}, session.Events...)
		labels.Events = append(labels.Events[:1:1], labels.Events...)
		labels.Events[0].Malicious = nil
	}
	s.Labels, s.Session = labels, session
	s.Decisions, err = corpus.Judge(e.policy, session, tools, e.clean, e.keep)
	return err
}

// surroundings returns what was known before a session began: the tools, and what the agent was told.
func (e *evaluation) surroundings(dir string, l *corpus.Labels) (tools []event.Catalog, system string, err error) {
	short := strings.TrimRight(l.Source, "0123456789")
	for _, name := range []string{l.Source + "_" + l.Suite, l.Source, short + "_" + l.Suite, short} {
		path := filepath.Join(dir, filepath.Base(name)+".json")
		e.lists.Lock()
		list, read := e.known[path]
		if !read {
			var text []byte
			if text, err = os.ReadFile(path); err == nil {
				list, err = corpus.Catalogs(text)
			}
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			e.known[path] = list
		}
		e.lists.Unlock()
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		if list != nil {
			told, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".system.txt")
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			return list, string(told), err
		}
	}
	return nil, "", nil
}
