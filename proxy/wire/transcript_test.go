package wire_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/umpire-dev/umpire/proxy/wire"
)

var update = flag.Bool("update", false, "write what happened into the transcripts")

// TestTranscripts reads testdata/wire/*.txtar. A file NAME.client or NAME.server is a frame of that side, without the
// line break at its end; NAME.client.quoted is one as a Go string, for what a text file cannot hold. The file NAME.want
// behind it says how it is read.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../../testdata/wire/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out []txtar.File
		for i, f := range a.Files {
			if strings.HasSuffix(f.Name, ".want") {
				continue
			}
			name, side, _ := strings.Cut(f.Name, ".")
			got := read(t, f, side)
			out = append(out, f, txtar.File{Name: name + ".want", Data: []byte(got)})
			want := ""
			if i+1 < len(a.Files) && a.Files[i+1].Name == name+".want" {
				want = string(a.Files[i+1].Data)
			}
			if got != want && !*update {
				t.Errorf("%s: %s\ngot\n%swant\n%s", file, f.Name, got, want)
			}
		}
		if *update {
			a.Files = out
			if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func read(t *testing.T, f txtar.File, side string) string {
	t.Helper()
	data := strings.TrimSuffix(string(f.Data), "\n")
	if s, ok := strings.CutSuffix(side, ".quoted"); ok {
		var err error
		if data, err = strconv.Unquote(data); err != nil {
			t.Fatal(f.Name, err)
		}
		side = s
	}
	from, ok := map[string]wire.Side{"client": wire.FromClient, "server": wire.FromServer}[side]
	if !ok {
		t.Fatal("not of a side: ", f.Name)
	}
	frame, err := wire.Parse([]byte(data), from)
	var refused *wire.Error
	if errors.As(err, &refused) {
		return fmt.Sprintf("refused: %v\nreply: %s\n", refused, refused.Reply())
	}
	var b strings.Builder
	if frame.Batch {
		fmt.Fprintf(&b, "batch of %d\n", len(frame.Messages))
	}
	for _, m := range frame.Messages {
		if !frame.Batch && string(m.Raw) != data {
			t.Errorf("%s: the bytes of the message are %q", f.Name, m.Raw)
		}
		describe(&b, &m)
	}
	return b.String()
}

func describe(b *strings.Builder, m *wire.Message) {
	switch m.Kind {
	case wire.Request:
		fmt.Fprintf(b, "request %s %s", m.ID, m.Method)
	case wire.Notification:
		fmt.Fprintf(b, "notification %s", m.Method)
	case wire.Response:
		if m.Error.Exists() {
			fmt.Fprintf(b, "error %s %s", m.ID, m.Error.Raw)
		} else {
			fmt.Fprintf(b, "result %s %s", m.ID, m.Result.Raw)
		}
	}
	if m.Protocol() != "" {
		fmt.Fprintf(b, " protocol=%s", m.Protocol())
	}
	if m.IsCall() {
		c := m.Call()
		fmt.Fprintf(b, " name=%q args=%s", c.Name, c.Args)
		if c.Continues {
			fmt.Fprintf(b, " continues %q", c.RequestState)
		}
	} else if m.Name() != "" {
		fmt.Fprintf(b, " about=%q", m.Name())
	}
	b.WriteString("\n")
}
