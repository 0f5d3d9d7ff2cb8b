package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/history"
)

// patience is how long a test waits for something that has to happen.
const patience = 30 * time.Second

// daemonProcess is umpire serve as a process of its own.
type daemonProcess struct {
	*exec.Cmd
	url   string        // where it listens
	ended chan struct{} // closed when it has ended, with err
	err   error
}

// launch starts umpire serve on a free port and waits until it answers on its socket.
func launch(state string, prepare func(*exec.Cmd), args ...string) (*daemonProcess, error) {
	path, err := exec.LookPath("umpire")
	if err != nil {
		return nil, err
	}
	p := &daemonProcess{Cmd: exec.Command(path, append([]string{"serve", "--state", state}, args...)...), ended: make(chan struct{})}
	prepare(p.Cmd)
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	d := history.Dial(filepath.Join(state, config.SocketFile))
	defer d.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.ended:
			return nil, fmt.Errorf("umpire serve ended: %w", p.err)
		default:
		}
		if s, err := d.Status(); err == nil && s.PID == p.Process.Pid && s.Listen != "" {
			p.url = "http://" + s.Listen
			return p, nil
		}
	}
	p.kill()
	return nil, errors.New("umpire serve does not answer")
}

// kill ends it at once.
func (p *daemonProcess) kill() {
	p.Process.Kill()
	<-p.ended
}

// interrupt ends it as Ctrl-C does.
func (p *daemonProcess) interrupt() error {
	if err := p.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.kill()
		return errors.New("umpire serve does not end")
	}
}
