package interchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/corpus"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
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
	Servers []string  // that are known, by which names in transcripts are told from those of tools
	Env     event.Env // what "~" and the spellings of paths mean in what is imported
	Stdin   io.Reader // what Stdin names
	Scratch string    // directory for what can be read only once; it is there
	// Progress is told how much is read.
	Progress *view.Progress
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
	// Guessed are names of tools of which it is not sure where that of the server ends.
	Guessed []string `json:"guessed,omitempty"`
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
	files, done, err := im.inputs(ctx, names)
	defer done()
	if err != nil {
		return r, err
	}
	size := int64(0)
	for _, f := range files {
		form, err := formOf(f)
		switch {
		case err != nil:
			return r, fmt.Errorf("%s: %w", f.name, err)
		case r.Form != "" && form != r.Form:
			return r, fmt.Errorf("%s: this is a file of %s, and those before it are %s: import one kind at a time", f.name, form, r.Form)
		}
		r.Form = form
		size += f.size
	}
	im.Progress.Begin("importing", size, view.Bytes)
	defer im.Progress.Begin("", 0, nil)
	if r.Form == formEvents {
		return r, im.events(ctx, files, &r)
	}
	s, err := im.sink(ctx, &r)
	if err != nil {
		return r, err
	}
	if r.Form == formCorpus {
		err = im.corpora(s, files)
	} else {
		err = im.transcripts(s, files)
	}
	if err == nil {
		err = s.flush()
	}
	r.Sessions = len(s.sessions)
	return r, err
}

// formOf recognises a file by its first line.
func formOf(in input) (string, error) {
	for line, err := range in.lines(nil) {
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

// A corpus has no times: its sessions begin a day after one another, so that windows of up to a day see one of them.
var corporaBegin = event.At(time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC))

const (
	corpusEvery  = 24 * time.Hour
	corpusMost   = 90_000 // sessions: later ones would have no time
	corpusLength = 80_000 // events of a session: more would not have happened when the next begins
)

// corpora imports the sessions of corpora. Of the labels nothing is imported.
func (im *Import) corpora(s *sink, files []input) error {
	n := 0
	for _, f := range files {
		for line, err := range f.lines(im.Progress) {
			if err == nil {
				err = im.labelled(s, f.name, line, n)
				n++
			}
			if err != nil {
				return fmt.Errorf("%s:%d: %w", f.name, line.number, err)
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
