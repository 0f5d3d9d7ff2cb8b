package interchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/conversation/hook"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
)

// Import says how files become a history.
type Import struct {
	DB      *store.DB // empty, and opened as an imported one
	Cleaner *wire.Cleaner
	Keep    conversation.Keep
	Env     event.Env // what "~" and the spellings of paths mean in what is imported
	// Surroundings returns what was known before a session of a corpus in dir began: tools, and what the agent was told.
	Surroundings func(dir string, l *corpus.Labels) (tools []event.Catalog, system string, err error)
}

// Report counts what was imported.
type Report struct {
	Form     string `json:"form"` // "events", "corpus" or "transcripts"
	Events   int    `json:"events"`
	Sessions int    `json:"sessions"`
	Calls    int    `json:"calls"`
	Turns    int    `json:"turns"`
	Repeated int    `json:"repeated"` // calls that several transcripts tell of, beside the first time
	Unread   int    `json:"unread"`   // lines of transcripts that could not be understood
}

// The forms of files.
const (
	formEvents      = "events"
	formCorpus      = "corpus"
	formTranscripts = "transcripts"
)

// ErrForm says that a file cannot be imported.
var ErrForm = errors.New("want sessions: what umpire export prints, a corpus of umpire eval, or transcripts of Claude Code or Codex")

// Files imports files of one form. What it returns without an error is in the DB, complete; after an error the DB is of no use.
func (im *Import) Files(ctx context.Context, names []string) (r Report, err error) {
	for _, name := range names {
		form, err := formOf(name)
		switch {
		case err != nil:
			return r, fmt.Errorf("%s: %w", name, err)
		case r.Form != "" && form != r.Form:
			return r, fmt.Errorf("%s: this is a file of %s, and those before it are %s: import one kind at a time", name, form, r.Form)
		}
		r.Form = form
	}
	if r.Form == formEvents {
		return r, im.events(ctx, names, &r)
	}
	s, err := im.sink(ctx, &r)
	if err != nil {
		return r, err
	}
	if r.Form == formCorpus {
		err = im.corpora(s, names)
	} else {
		err = im.transcripts(s, names)
	}
	if err == nil {
		err = s.flush()
	}
	r.Sessions = len(s.sessions)
	return r, err
}

// formOf recognises a file by its first line.
func formOf(name string) (string, error) {
	for line, err := range linesOf(name) {
		if err != nil {
			return "", err
		}
		v := gjson.ParseBytes(line.text)
		switch {
		case !v.IsObject():
			return "", ErrForm
		case v.Get("v").Exists() && v.Get("seq").Exists():
			return formEvents, nil
		case v.Get("events").IsArray() && v.Get("source").Exists():
			return formCorpus, nil
		case hook.Writer(line.text) != nil:
			return formTranscripts, nil
		}
		return "", ErrForm
	}
	return "", fmt.Errorf("%w; this has nothing in it", ErrForm)
}

// maxLine is how many bytes a line can have.
const maxLine = 64 << 20

// line is a line of a file that is not empty.
type line struct {
	number int
	text   []byte // until the next one is read
}

// linesOf yields the lines of a file.
func linesOf(name string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := os.Open(name)
		if err != nil {
			yield(line{}, errors.Unwrap(err))
			return
		}
		defer f.Close() //nolint:errcheck // it was only read
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			yield(line{}, errors.New("this is no file"))
			return
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, maxLine)
		n := 0
		for lines.Scan() {
			if n++; len(bytes.TrimSpace(lines.Bytes())) > 0 && !yield(line{n, lines.Bytes()}, nil) {
				return
			}
		}
		if errors.Is(lines.Err(), bufio.ErrTooLong) {
			yield(line{}, fmt.Errorf("line %d is longer than %d MiB", n+1, maxLine>>20))
		} else if lines.Err() != nil {
			yield(line{}, lines.Err())
		}
	}
}

// A corpus has no times: its sessions begin a day after one another, so that windows of up to a day see one of them.
var corporaBegin = event.At(time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC))

const (
	corpusEvery  = 24 * time.Hour
	corpusMost   = 90_000 // sessions: later ones would have no time
	corpusLength = 80_000 // events of a session: more would not have happened when the next begins
)

// corpora imports the sessions of corpora. Of the labels nothing is imported.
func (im *Import) corpora(s *sink, names []string) error {
	n := 0
	for _, name := range names {
		for line, err := range linesOf(name) {
			if err == nil {
				err = im.labelled(s, name, line, n)
				n++
			}
			if err != nil {
				return fmt.Errorf("%s:%d: %w", name, line.number, err)
			}
		}
	}
	return nil
}

func (im *Import) labelled(s *sink, name string, l line, n int) error {
	session, labels, err := corpus.Parse(l.text)
	switch {
	case err != nil:
		return err
	case n >= corpusMost || len(session.Events) > corpusLength:
		return fmt.Errorf("more than %d sessions, or %d events of one", corpusMost, corpusLength)
	}
	tools, system, err := im.Surroundings(filepath.Join(filepath.Dir(name), "tools"), &labels)
	if err != nil {
		return err
	}
	if system != "" {
		session.Events = append([]corpus.Event{{Type: "system", Text: system}}, session.Events...)
	}
	link := fmt.Sprintf("import:%s:%d", filepath.Base(name), l.number)
	id := s.session(link)
	begin := corporaBegin.Add(time.Duration(n) * corpusEvery)
	return corpus.Play(session, tools, im.Cleaner, im.Keep, func(i int, cause uint64, body event.Body) (uint64, error) {
		s.at = max(s.at, begin.Add(time.Duration(i)*corpus.Pause))
		if c, ok := body.(*event.Call); ok {
			c.Link = link
			if err := s.open(id, link, c.Server, c.Peer); err != nil {
				return 0, err
			}
		}
		return s.add(id, cause, body)
	})
}
