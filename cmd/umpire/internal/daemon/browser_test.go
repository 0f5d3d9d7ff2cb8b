package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a real Chromium without a window, told what to do by its DevTools protocol over two pipes.
type browser struct {
	t    *testing.T
	in   io.Writer
	mu   sync.Mutex
	next int
	wait map[int]chan reply
	// complaints are errors of scripts and violations of the Content-Security-Policy, of all pages.
	complaints []string
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// tab is a page of a browser.
type tab struct {
	*browser
	session string
}

// launchBrowser starts Chromium, which ends with the test. Where there is none, the test is skipped.
func launchBrowser(t *testing.T) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{os.Getenv("UMPIRE_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil && name != "" {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium here: apt-get install chromium, or name one in UMPIRE_CHROMIUM")
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "umpire-browser")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "--headless=new", "--remote-debugging-pipe", "--user-data-dir="+profile, "--no-first-run",
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking",
		"--hide-scrollbars", "--lang=en-GB", "about:blank")
	cmd.Env = append(os.Environ(), "TZ=UTC")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: ourOut, wait: map[int]chan reply{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.listen(ourIn)
	}()
	t.Cleanup(func() {
		b.send("", "Browser.close", nil)
		ourOut.Close()
		done := make(chan struct{})
		go func() {
			cmd.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
		}
		cancel()
		<-done
		ourIn.Close()
		<-ended
		for range 50 { // what it has started may still write there
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return b
}

// listen hands out answers, and notes what pages complain about.
func (b *browser) listen(from io.Reader) {
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := lines.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			for id, c := range b.wait {
				close(c)
				delete(b.wait, id)
			}
			return
		}
		var r reply
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &r) != nil {
			continue
		}
		b.mu.Lock()
		switch c := b.wait[r.ID]; {
		case r.ID != 0 && c != nil:
			delete(b.wait, r.ID)
			c <- r
		case r.Method == "Runtime.exceptionThrown", r.Method == "Log.entryAdded":
			b.complaints = append(b.complaints, string(r.Params))
		}
		b.mu.Unlock()
	}
}

func (b *browser) send(session, method string, params any) <-chan reply {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	message := map[string]any{"id": b.next, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Error(err)
	}
	c := make(chan reply, 1)
	b.wait[b.next] = c
	if _, err := b.in.Write(append(text, 0)); err != nil {
		delete(b.wait, b.next)
		close(c)
	}
	return c
}

// call asks the browser for something and waits for the answer.
func (b *browser) call(session, method string, params, out any) {
	b.t.Helper()
	select {
	case r, ok := <-b.send(session, method, params):
		if !ok {
			b.t.Fatalf("%s: the browser has ended", method)
		}
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if out != nil {
			if err := json.Unmarshal(r.Result, out); err != nil {
				b.t.Fatalf("%s: %v %s", method, err, r.Result)
			}
		}
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: the browser does not answer", method)
	}
}

// open opens a page in a new window. A stranger's has cookies and storage of its own.
func (b *browser) open(stranger bool) *tab {
	b.t.Helper()
	params := map[string]any{"url": "about:blank"}
	if stranger {
		var own struct{ BrowserContextID string }
		b.call("", "Target.createBrowserContext", nil, &own)
		params["browserContextId"] = own.BrowserContextID
	}
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", params, &target)
	var session struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	tab := &tab{b, session.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		tab.do(domain+".enable", nil)
	}
	tab.size(1360, 860)
	return tab
}

func (t *tab) do(method string, params any) { t.t.Helper(); t.call(t.session, method, params, nil) }

func (t *tab) size(width, height int) {
	t.t.Helper()
	t.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
}

// theme is the scheme that the system prefers.
func (t *tab) theme(name string) {
	t.t.Helper()
	t.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": name}}})
}

func (t *tab) visit(url string) { t.t.Helper(); t.do("Page.navigate", map[string]any{"url": url}) }

// run evaluates an expression in the page and returns its value as JSON; a promise is waited for.
func (t *tab) run(expression string) string {
	t.t.Helper()
	var out struct {
		Result struct {
			Value json.RawMessage
		}
		ExceptionDetails json.RawMessage
	}
	t.call(t.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if out.ExceptionDetails != nil {
		t.t.Fatalf("%s: %s", expression, out.ExceptionDetails)
	}
	return string(out.Result.Value)
}

// await waits until an expression is true in the page.
func (t *tab) await(expression string) {
	t.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); t.run("Boolean("+expression+")") != "true"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.shot("failed")
			t.t.Fatalf("in vain: %s\n%s\ncomplaints: %s", expression, t.run("document.body?.innerText"), strings.Join(t.complained(), "\n"))
		}
	}
}

// sees waits until the page shows a text.
func (t *tab) sees(text string) {
	t.t.Helper()
	t.await(fmt.Sprintf("document.body?.innerText.includes(%q)", text))
}

// keys presses keys, one after the other: letters, or names such as Enter.
func (t *tab) keys(keys ...string) {
	t.t.Helper()
	for _, k := range keys {
		down := map[string]any{"type": "keyDown", "key": k}
		if len(k) == 1 {
			down["text"] = k
		} else if k == "Enter" {
			down["text"], down["windowsVirtualKeyCode"] = "\r", 13
		}
		t.do("Input.dispatchKeyEvent", down)
		t.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": k})
	}
}

// write types a text where the focus is.
func (t *tab) write(text string) {
	t.t.Helper()
	t.do("Input.insertText", map[string]any{"text": text})
}

// click clicks the first element that a selector finds and whose text holds a word.
func (t *tab) click(selector, word string) {
	t.t.Helper()
	found := fmt.Sprintf("[...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q))", selector, word)
	t.await(found)
	t.run(found + ".click()")
}

// shot keeps a picture of the page in the directory that UMPIRE_SCREENSHOTS names, if there is one.
func (t *tab) shot(name string) {
	t.t.Helper()
	dir := os.Getenv("UMPIRE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var out struct{ Data string }
	t.call(t.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &out)
	png, err := base64.StdEncoding.DecodeString(out.Data)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		t.t.Error(err)
	}
}

// complained returns what pages have complained about so far.
func (b *browser) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaints)
}
