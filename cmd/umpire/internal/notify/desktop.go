package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/view"
	"github.com/umpire-dev/umpire/proxy/review"
)

// desktop tells by the program that the system has for it.
type desktop struct{ trouble trouble }

func newDesktop(log *slog.Logger) *desktop {
	if err := CheckDesktop(); err != nil { // nothing is wrong with a machine that has no desktop
		log.Debug("no notifications on the desktop", "why", err)
	}
	return &desktop{trouble: trouble{what: "the notification of the desktop", log: log}}
}

// tellWithin is how long the program may take.
const tellWithin = 5 * time.Second

func (d *desktop) tell(ctx context.Context, held []review.Held) {
	if CheckDesktop() != nil { // it can be there from now on
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	title, text := words(held)
	p := command(runtime.GOOS, title, text)
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...) //nolint:gosec // the program is the system's, and what it is told is escaped
	cmd.Env = append(os.Environ(), p.env...)
	cmd.WaitDelay = time.Second
	switch out, err := cmd.CombinedOutput(); {
	case err == nil:
		d.trouble.set("")
	case ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.trouble.set(fmt.Sprintf("%s: %v: %s", p.args[0], err, view.Text(strings.TrimSpace(string(out)), 200)))
	}
}

// words is what a notification says: which tools, whose rule, and until when. Arguments and conversations stay where they are:
// notifications are shown on locked screens, too.
func words(held []review.Held) (title, text string) {
	first := held[0]
	title = "Umpire: a call is on hold"
	what := view.Text(first.Server+"/"+first.Tool, 80)
	if len(held) == 1 {
		if first.Agent != "" {
			what += ", called by " + view.Text(first.Agent, 60)
		}
	} else {
		title = fmt.Sprintf("Umpire: %d calls are on hold", len(held))
		tools := map[string]bool{}
		for _, h := range held {
			tools[h.Server+"/"+h.Tool] = true
		}
		if more := len(tools) - 1; more > 0 {
			what += fmt.Sprintf(", and %d more tools", more)
		}
	}
	return title, fmt.Sprintf("%s\nRule %s holds it. Denied at %s, unless: umpire review",
		what, view.Text(first.Rule, 60), first.Expires.Time().Local().Format("15:04:05"))
}

// program is a command with what is added to its environment.
type program struct{ args, env []string }

// command shows a notification. The texts are data to each of these programs, and never part of a script.
func command(system, title, text string) program {
	switch system {
	case "darwin":
		return program{args: []string{
			"osascript", "-e", "on run argv", "-e", "display notification (item 2 of argv) with title (item 1 of argv)", "-e", "end run", title, text,
		}}
	case "windows":
		return program{
			args: []string{"powershell.exe", "-NoProfile", "-NonInteractive", "-Command", toast},
			env:  []string{"UMPIRE_TITLE=" + title, "UMPIRE_TEXT=" + text},
		}
	}
	// The body is markup to those who show it, and escapes of C in it are read by notify-send.
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `\`, `\\`).Replace(text)
	p := program{args: []string{"notify-send", "--app-name=Umpire", "--icon=dialog-warning", "--", title, text}}
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		p.env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus()}
	}
	return p
}

const toast = `$ErrorActionPreference = 'Stop'
$null = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$xml = [Windows.UI.Notifications.ToastNotificationManager]::GetTemplateContent([Windows.UI.Notifications.ToastTemplateType]::ToastText02)
$texts = $xml.GetElementsByTagName('text')
$null = $texts.Item(0).AppendChild($xml.CreateTextNode($env:UMPIRE_TITLE))
$null = $texts.Item(1).AppendChild($xml.CreateTextNode($env:UMPIRE_TEXT))
$app = '{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe'
[Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier($app).Show([Windows.UI.Notifications.ToastNotification]::new($xml))`

// CheckDesktop says why this process cannot show notifications, as far as that can be seen without showing one.
func CheckDesktop() error {
	name := command(runtime.GOOS, "", "").args[0]
	if _, err := exec.LookPath(name); err != nil {
		hint := ""
		if name == "notify-send" {
			hint = " (Debian has it in libnotify-bin, others in libnotify)"
		}
		return fmt.Errorf("there is no program %s%s", name, hint)
	}
	if name != "notify-send" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return nil
	}
	if path := bus(); path == "" {
		return errors.New("there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set, and nobody has logged in to a desktop")
	}
	return nil
}

// bus is where the session bus of this user is, if its address is not in the environment: clients that start a daemon
// leave little of that. It is empty if there is none.
func bus() string {
	dirs := []string{os.Getenv("XDG_RUNTIME_DIR"), filepath.Join("/run/user", strconv.Itoa(os.Getuid()))}
	for _, dir := range slices.Compact(dirs) {
		path := filepath.Join(dir, "bus")
		if info, err := os.Stat(path); dir != "" && err == nil && info.Mode()&os.ModeSocket != 0 { //nolint:gosec // the user says where his runtime directory is
			return path
		}
	}
	return ""
}
