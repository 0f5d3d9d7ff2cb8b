package shim

import (
	"errors"
	"os"
	"sync"
)

// pipeEnds is the shim's own stdin and stdout.
type pipeEnds struct {
	in, out *os.File
	once    sync.Once
}

// Read reads what the client says.
func (p *pipeEnds) Read(b []byte) (int, error) { return p.in.Read(b) }

// Write tells the client something.
func (p *pipeEnds) Write(b []byte) (int, error) { return p.out.Write(b) }

// CloseWrite tells the client that nothing more will come.
func (p *pipeEnds) CloseWrite() (err error) {
	p.once.Do(func() { err = p.out.Close() })
	return err
}

// Close ends both directions.
func (p *pipeEnds) Close() error { return errors.Join(p.CloseWrite(), p.in.Close()) }
