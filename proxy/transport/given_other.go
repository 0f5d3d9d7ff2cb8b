//go:build !unix

package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// give does nothing: files cannot be passed to another process here.
func give(context.Context, string, Hello, []*os.File) (*Given, error) {
	return nil, fmt.Errorf("transport: pipes cannot be given away here: %w", errors.ErrUnsupported)
}

func (p *Pipes) registerGiven(*http.ServeMux) {}
