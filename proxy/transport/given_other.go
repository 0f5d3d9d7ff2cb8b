//go:build !unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// newPipework does nothing: files cannot be passed to another process here.
func newPipework([]*os.File) (*Pipework, error) {
	return nil, fmt.Errorf("transport: pipes cannot be given away here: %w", errors.ErrUnsupported)
}

func give(context.Context, string, Hello, *Pipework) (*Given, error) {
	return nil, fmt.Errorf("transport: pipes cannot be given away here: %w", errors.ErrUnsupported)
}

// HangUp does nothing: there is no Pipework here.
func (p *Pipework) HangUp() {}

// Close does nothing, as HangUp.
func (p *Pipework) Close() {}

// Sides does nothing, as HangUp.
func (p *Pipework) Sides(func()) (client, server *Side, err error) {
	return nil, nil, errors.ErrUnsupported
}

func (p *Pipes) registerGiven(*http.ServeMux) {}
