package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy/console"
	"github.com/umpire-dev/umpire/rules/event"
)

// openConsole opens the web console, unless it is open, and answers with a link to it. Nothing of it listens before
// somebody asks over the socket. It has a port of its own, and so is another origin than the servers that are mounted on the
// daemon's: what they answer can be a page with scripts.
func (d *Daemon) openConsole(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Listen string `json:"listen"` // empty: wherever it is open, else any free port
		File   bool   `json:"file"`   // write the link into a file, too
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&ask); err != nil {
		http.Error(w, "want where to listen", http.StatusBadRequest)
		return
	}
	c, err := d.theConsole(ask.Listen)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !ask.File {
		d.answer(w, map[string]string{"url": c.Link(nil)}, nil)
		return
	}
	link, file, err := d.linkFile(c)
	d.answer(w, map[string]string{"url": link, "file": file}, err)
}

// linkFiles are the names of files that lead a browser to the console.
const linkFiles = "console-*.html"

// linkFile makes a link, and a file that leads there: what opens a browser takes its address as an argument, which every
// user of this machine can read, and this file is for its owner alone. It is gone when the link was used, or is too old.
func (d *Daemon) linkFile(c *console.Console) (link, path string, err error) {
	f, err := os.CreateTemp(d.opts.StateDir, linkFiles) // 0600
	if err != nil {
		return "", "", err
	}
	path = f.Name()
	remove := func() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.opts.Log.Warn("a link to the console is left behind; it leads nowhere any more", "file", path, "error", err)
		}
	}
	link = c.Link(remove)
	to := html.EscapeString(link)
	_, err = fmt.Fprintf(f, "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>Umpire</title>\n"+
		"<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n<p><a href=\"%[1]s\">The web console</a>\n", to)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.linked = append(d.linked, time.AfterFunc(console.LinkFor, remove))
	return link, path, nil
}

// unlink removes the files that lead to the console.
func (d *Daemon) unlink() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.linked {
		t.Stop()
	}
	d.linked = nil
	all, err := filepath.Glob(filepath.Join(d.opts.StateDir, linkFiles))
	for _, path := range all {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.opts.Log.Warn("a link to the console is left behind; it leads nowhere any more", "error", err)
	}
}

func (d *Daemon) theConsole(listen string) (*console.Console, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ctx.Err() != nil:
		return nil, errors.New("umpire is stopping")
	case listen != "" && !config.IsLoopback(listen):
		return nil, errors.New("the console is for this machine alone: want a loopback address, such as 127.0.0.1:7778")
	case d.console != nil && listen != "" && listen != d.consoleAddr:
		return nil, errors.New("the console is open at " + d.consoleAddr + " until the daemon ends")
	case d.console != nil:
		return d.console, nil
	case listen == "":
		listen = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(d.ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	d.records(mux)
	c, err := console.New(console.Config{
		Addr: l.Addr().String(), API: mux, Feed: d.db, Waits: func() int { return len(d.gate.Desk().List()) }, Done: d.ctx.Done(),
	})
	if err != nil {
		l.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	d.console, d.consoleAddr = c, l.Addr().String()
	d.serve(l, d.alive(c))
	d.opts.Log.Info("the console is open", "address", d.consoleAddr)
	return c, nil
}

// tally returns the counts for charts. The first time, it begins to count, which goes on in the background: what happens from
// now on, and what was before, from the newest event to the oldest. The newest part is there at once.
func (d *Daemon) tally() (*console.Tally, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.counts != nil:
		return d.counts, nil
	case d.ctx.Err() != nil:
		return nil, errors.New("umpire is stopping")
	}
	t, last := console.NewTally(), d.db.Last()
	t.Back(last)
	high, err := d.countPart(t, last+1)
	if err != nil {
		return nil, err
	}
	d.counts = t
	d.running.Go(func() { d.count(t, last+1) })
	d.running.Go(func() {
		for err == nil && high > 0 && d.ctx.Err() == nil {
			high, err = d.countPart(t, high)
		}
		if err != nil && d.ctx.Err() == nil {
			d.opts.Log.Error("the history cannot be counted", "error", err)
		}
	})
	return t, nil
}

// countStep is how many events are counted at a time, backwards.
const countStep = 4_000

// countPart counts the last events before high, and returns where the part before them ends; 0 if there is none.
func (d *Daemon) countPart(t *console.Tally, high uint64) (next uint64, err error) {
	low := high - min(high, countStep)
	var part []event.Event
	first := uint64(0)
	for raw, err := range d.db.Raw(low) {
		e := event.Event{Seq: gjson.GetBytes(raw, "seq").Uint()}
		if err == nil && e.Seq >= high {
			break
		}
		if first == 0 {
			first = e.Seq
		}
		if err == nil && counts(raw) {
			err = e.UnmarshalJSON(raw)
			part = append(part, e)
		}
		if err != nil {
			return 0, err
		}
	}
	for _, e := range slices.Backward(part) {
		if !t.Before(e) {
			t.Reached(false)
			return 0, nil
		}
	}
	if first == 0 || low <= 1 { // retention has removed the rest, or nothing was there
		t.Reached(true)
		return 0, nil
	}
	return low, nil
}

// counts reports whether a stored event may be one that a Tally looks at.
func counts(raw []byte) bool {
	return slices.ContainsFunc(console.Kinds, func(kind string) bool { return bytes.Contains(raw, []byte(kind)) })
}

func (d *Daemon) count(t *console.Tally, from uint64) {
	for raw, err := range d.db.Watch(d.ctx.Done(), from) {
		e := event.Event{Seq: gjson.GetBytes(raw, "seq").Uint()}
		if err == nil && counts(raw) {
			err = e.UnmarshalJSON(raw)
		}
		if err != nil {
			if d.ctx.Err() == nil {
				d.opts.Log.Error("the history cannot be counted", "error", err)
			}
			return
		}
		t.Add(e)
	}
}

// chart returns what became of calls in the last steps, each so many minutes long.
func (d *Daemon) chart(q url.Values) (any, error) {
	minutes, err := number(q, "minutes", 15, 1, 24*60)
	steps, err2 := number(q, "steps", 96, 1, 400)
	if err = errors.Join(err, err2); err != nil {
		return nil, badRequest{err.Error()}
	}
	t, err := d.tally()
	if err != nil {
		return nil, err
	}
	now, step := event.At(d.opts.Now()), time.Duration(minutes)*time.Minute
	c := t.Chart(now, step, int(steps))
	if q.Get("near") != "" {
		near, err := d.nearMisses()
		if err != nil {
			return nil, err
		}
		c.AddNear(near.Chart(now, step, int(steps)))
	}
	return c, nil
}
