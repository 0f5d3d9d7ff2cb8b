package notify_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/notify"
	"github.com/umpire-dev/umpire/proxy/review"
)

// bell counts how often it rings.
type bell struct{ rung atomic.Int64 }

func (b *bell) Write(text []byte) (int, error) {
	b.rung.Add(int64(strings.Count(string(text), "\a")))
	return len(text), nil
}

// Of 47 refunds in three seconds nobody is told 47 times.
func TestABurstRingsAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		desk := review.NewDesk(gate{})
		b := &bell{}
		n := notify.Start(desk, notify.Config{Bell: b, Log: quiet})
		park(t, desk, 1000)
		synctest.Wait()
		if b.rung.Load() != 1 {
			t.Fatal("the first call does not ring at once")
		}
		for i := range uint64(47) {
			time.Sleep(3 * time.Second / 47)
			park(t, desk, i+1)
		}
		time.Sleep(time.Hour)
		if got := b.rung.Load(); got != 3 {
			t.Errorf("it rings %d times", got)
		}
		park(t, desk, 48)
		synctest.Wait()
		if got := b.rung.Load(); got != 4 {
			t.Errorf("later, it rings %d times", got)
		}
		// What has ended before its turn comes is no news.
		park(t, desk, 49).Leave("gone")
		time.Sleep(time.Hour)
		if got := b.rung.Load(); got != 4 {
			t.Errorf("for a call that has ended it rings: %d times", got)
		}
		desk.Close("stopping")
		n.Close()
		if got := b.rung.Load(); got != 4 {
			t.Errorf("at the end it rings: %d times", got)
		}
	})
}

// notifier puts a notify-send before all others, which writes what it is told into a pipe.
func notifier(t *testing.T, script string) (told func() string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("other systems have other programs")
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "told")
	if err := os.WriteFile(filepath.Join(dir, "notify-send"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("TOLD", out)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	return func() string {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if text, err := os.ReadFile(out); err == nil && strings.HasSuffix(string(text), "end\n") {
				return string(text)
			}
		}
		t.Fatal("nobody was told")
		return ""
	}
}

func TestTheDesktopIsToldWhichToolAndWhoseRule(t *testing.T) {
	told := notifier(t, `printf '%s\n' "$@" > "$TOLD.tmp"; echo end >> "$TOLD.tmp"; mv "$TOLD.tmp" "$TOLD"`)
	desk := review.NewDesk(gate{})
	n := notify.Start(desk, notify.Config{Desktop: true, Log: quiet})
	h := held(41)
	slot, refused := desk.Park(h, time.Hour)
	if slot == nil {
		t.Fatal(refused)
	}
	slot.Recorded()
	text := told()
	desk.Close("stopping")
	n.Close()
	want := "--app-name=Umpire\n--icon=dialog-warning\n--\nUmpire: a call is on hold\nbilling/issue_refund, called by support\n" +
		"Rule large-refund holds it. Denied at " + h.Expires.Time().Local().Format("15:04:05") + ", unless: umpire review\nend\n"
	if text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if strings.Contains(text, "150") || strings.Contains(text, "args") {
		t.Error("arguments are shown on a locked screen")
	}
}

// A program that fails is reported once, and one that hangs is ended with the daemon.
func TestADesktopThatDoesNotWorkIsSaidAndHoldsUpNothing(t *testing.T) {
	notifier(t, `echo 'no service' >&2; exit 1`)
	log := make(logs, 10)
	desk := review.NewDesk(gate{})
	n := notify.Start(desk, notify.Config{Desktop: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	park(t, desk, 1)
	if line := <-log; !strings.Contains(line, "no service") {
		t.Error(line)
	}
	if c := n.Channels(); len(c) != 1 || c[0].Name != "desktop" || !strings.Contains(c[0].Problem, "no service") {
		t.Errorf("%+v", c)
	}
	desk.Close("stopping")
	n.Close()

	told := notifier(t, `echo end > "$TOLD.tmp"; mv "$TOLD.tmp" "$TOLD"; exec sleep 1000`)
	desk = review.NewDesk(gate{})
	n = notify.Start(desk, notify.Config{Desktop: true, Log: quiet})
	park(t, desk, 1)
	told()
	desk.Close("stopping")
	n.Close() // the test would not end in time if this waited
}

func TestADesktopThatIsNotThereIsNoTrouble(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have other programs")
	}
	t.Setenv("PATH", t.TempDir())
	if err := notify.CheckDesktop(); err == nil || !strings.Contains(err.Error(), "there is no program notify-send") {
		t.Error(err)
	}
	desk := review.NewDesk(gate{})
	n := notify.Start(desk, notify.Config{Desktop: true, Log: quiet})
	park(t, desk, 1)
	desk.Close("stopping")
	n.Close()

	notifier(t, "exit 0")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := os.Stat(fmt.Sprintf("/run/user/%d/bus", os.Getuid())); err == nil {
		t.Skip("there is a session bus")
	}
	if err := notify.CheckDesktop(); err == nil || !strings.Contains(err.Error(), "there is no session bus") {
		t.Error(err)
	}
}

// What tools and agents call themselves is text to the programs that show notifications: no option, no markup, no script.
func TestNamesAreTextToEverySystem(t *testing.T) {
	hostile := `--hint=x <b>&amp;\074i\076` + "\x1b]0;t\a" + `" & (do shell script "id") $(id) 'x` + "\u202e\u200b"
	h := held(1)
	h.Server, h.Tool, h.Agent, h.Rule = "-s", hostile, hostile, hostile
	for _, system := range []string{"linux", "darwin", "windows"} {
		title, text := notify.Words([]review.Held{h})
		args, env := notify.Command(system, title, text)
		plain, _ := notify.Command(system, "title", "text")
		for _, s := range slices.Concat(args, env) {
			for _, r := range s {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%s: %U is given to it: %q", system, r, s)
				}
			}
		}
		switch system {
		case "linux":
			body := args[len(args)-1]
			if args[3] != "--" || strings.ContainsAny(body, "<>") || strings.Contains(strings.ReplaceAll(body, `\\`, ""), `\`) || strings.Contains(body, "&amp;b") {
				t.Errorf("%q", args)
			}
		case "darwin":
			if !slices.Equal(args[:len(args)-2], plain[:len(plain)-2]) {
				t.Errorf("the script depends on what is said: %q", args)
			}
		case "windows":
			if !slices.Equal(args, plain) || len(env) != 2 {
				t.Errorf("the script depends on what is said: %q", args)
			}
		}
	}
}

func TestSeveralCallsAreOneNotification(t *testing.T) {
	var list []review.Held
	for i := range uint64(47) {
		h := held(i)
		h.Tool = fmt.Sprint("tool-", i%3)
		list = append(list, h)
	}
	title, text := notify.Words(list)
	if title != "Umpire: 47 calls are on hold" || !strings.HasPrefix(text, "billing/tool-0, and 2 more tools\n") {
		t.Errorf("%q %q", title, text)
	}
}
