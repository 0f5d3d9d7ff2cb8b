package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// runRemote connects the client to a server that the daemon reaches for it. It returns when either has ended.
func runRemote(ctx context.Context, opts Options, signals <-chan os.Signal) (status int, err error) {
	own := stdio()
	hello := hello(opts)
	hello.URL, hello.Transport, hello.Header = opts.Remote.URL.String(), opts.Transport, opts.Remote.Header
	var client *net.UnixConn
	err = reach(opts, func(socket string) error {
		ctx, cancel := context.WithTimeout(ctx, remoteWait)
		defer cancel()
		var err error
		client, err = transport.AttachRemote(ctx, socket, hello)
		return err
	})
	serve := func() {
		go splice(client, own)
		splice(own, client)
	}
	if errors.Is(err, transport.ErrUnreachable) {
		return 1, err
	}
	if err != nil {
		opts.Log.Error("every call will be denied", "reason", err)
		why := err
		server, err := proxy.Dial(ctx, opts.Transport, *opts.Remote)
		if err != nil {
			return 1, fmt.Errorf("%w: %w", transport.ErrUnreachable, err)
		}
		serve = func() { pump(opts, why, own, server) }
	}
	passed := make(chan struct{})
	go func() {
		serve()
		close(passed)
	}()
	select {
	case <-passed:
		return 0, nil
	case s := <-signals:
		if client != nil {
			client.Close() //nolint:errcheck // the daemon ends the rest
		}
		if number, ok := s.(syscall.Signal); ok {
			return 128 + int(number), nil
		}
		return 1, nil
	}
}
