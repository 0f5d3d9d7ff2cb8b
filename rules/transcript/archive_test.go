package transcript_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/transcript"
)

// What is written into an archive is what came out otherwise, and it is then as it is.
func TestWhatIsWrittenIsWhatIsDecided(t *testing.T) {
	const was = "a comment\n-- begin --\n0s call a/c\n-- one --\n# why\n0s call a/b\n  hold\n1s call repeat=2 a/b\n  passes\n2s call a/d\n  deny…\n\n3s call a/b\n"
	const want = "a comment\n-- begin --\n0s call a/c\n-- one --\n# why\n0s call a/b\n  allow: no rule objects: few 1 of 1\n1s call repeat=2 a/b\n" +
		"  deny few: 2nd call of a/b in 10s (limit 1), after #3\n    allowed: at most 1 in 10s\n    retry: 9s\n2s call a/d\n  deny…\n\n" +
		"3s call a/b\n  deny few: 2nd call of a/b in 10s (limit 1), after #3\n    allowed: at most 1 in 10s\n    retry: 7s\n"
	p, err := rules.Compile([]event.Source{{Name: "p", Text: `rules:
  - {name: few, on: a/b, rate: {max: 1, per: 10s}, do: deny}
  - {name: never, on: a/d, do: deny}`}}, event.Env{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	text := was
	for _, failures := range []int{3, 0} {
		a, err := transcript.Parse("a", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Cases[0].Play(transcript.NewPlayer(rules.NewState(p), nil))
		if err != nil || len(r.Failures) != failures || r.Calls != 6 {
			t.Fatalf("%v %+v", err, r)
		}
		text = string(a.Format(false))
		if text != want {
			t.Errorf("got\n%swant\n%s", text, want)
		}
	}
}

func TestAVerdictCanEndAfterEachOfItsParts(t *testing.T) {
	v := event.Verdict{Action: event.Deny, Rule: "few", Why: "2nd call of a/b", Hint: "wait", RetryMS: 1000}
	h := transcript.Happened{Verdict: &v, Said: transcript.Said(&v)}
	for want, fits := range map[string]bool{
		"deny": true, "deny few": true, "deny few: 2nd call of a/b": true, "deny few: 2nd…": true, "de…": true, "stopped": true, "…": true,
		"deny few\n  retry: 1s": true, "stopped\n  allowed: w…": true, "deny few\n  allowed: wait\n  retry: 1s": true,
		"": false, "passes": false, "hold": false, "deny fe": false, "deny few: 2nd": false, "den": false, "deny fewer": false, "log…": false,
		"deny few\n  retry: 2s": false, "deny few\n  retry: 1s\n  allowed: wait": false, "deny\n  also deny x": false,
	} {
		var lines []string
		if want != "" {
			lines = strings.Split(want, "\n")
		}
		if h.Fits(lines) != fits {
			t.Errorf("%q: %v", want, !fits)
		}
	}
}

// many is what repeats a line more often than a fuzzer has time for.
var many = regexp.MustCompile(`repeat="?[0-9+]{4}`)

// Whatever stands in an archive is read, or refused with its place; nothing that is read breaks the player.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"rules", "sessions"} {
		files, err := filepath.Glob("../../testdata/" + folder + "/*.txtar")
		if err != nil || len(files) == 0 {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	for _, line := range []string{
		"0s", "clock", "0s call", `0s call as="`, "0s call a/b -> ", "0s result", "0s result x", "0s review #1", "0s catalog a {}", "0s accepted",
		"0s call repeat=0 a/b", "0s call repeat=3 every=-1s a/b", "-1s call a/b", "0s turn", "0s turn user = x", "0s call a/b {} {}", "0s signal",
		"0s accepted a/b c/d", "0s result #18446744073709551615 ok", "0s expired #0", "106751d call a/b\n107000d call a/b",
	} {
		f.Add([]byte("-- a --\n" + line + "\n"))
	}
	p, err := rules.Compile([]event.Source{{Name: "p", Text: `rules: [{name: x, on: "*/*", rate: {max: 3, per: 1h, by: args.a}, do: hold}]`}}, event.Env{OS: "linux"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if many.Match(text) {
			t.Skip("it takes long")
		}
		a, err := transcript.Parse("a", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "a:") {
				t.Errorf("%v: where?", err)
			}
			return
		}
		for _, c := range a.Cases {
			if _, err := c.Play(transcript.NewPlayer(rules.NewState(p), nil)); err != nil && !strings.HasPrefix(err.Error(), "a:") {
				t.Errorf("%v: where?", err)
			}
		}
	})
}
