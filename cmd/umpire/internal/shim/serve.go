package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// The patience of the shim.
const (
	daemonWait  = 10 * time.Second // for a daemon to listen
	remoteWait  = 45 * time.Second // for a daemon to reach a server
	restartWait = 2 * time.Second  // for somebody else to start a daemon again
	lookAgain   = time.Second      // between looking for a daemon, while calls are denied
	startAgain  = 5 * time.Second  // between starting one; twice as long each time, up to a minute
)

// A daemon that is gone within atOnce does not serve us, and maxAtOnce in a row are no coincidence.
const (
	atOnce    = 100 * time.Millisecond
	maxAtOnce = 5
)

// conversation is a client and its server, for as long as both are there.
type conversation struct {
	opts  Options
	own   *pipeEnds
	child *child.Child        // nil if the server is elsewhere
	pipes *transport.Pipework // nil if the pipes cannot be given away
	left  bool                // the client has ended
}

// serve has a daemon serve the conversation, and another one when that ends; while none can be had, calls are denied. It
// returns when there is nothing more to say to the client.
func (v *conversation) serve(ctx context.Context) (err error) {
	defer v.own.Close() //nolint:errcheck // nobody is there any more
	defer v.hangUp()
	var server transport.Ends
	if v.child != nil {
		server.In, server.Out = v.child.Ends()
	}
	v.pipes, err = transport.NewPipework(transport.Ends{In: v.own.in, Out: v.own.out}, server)
	switch {
	case err == nil:
		defer v.pipes.Close()
	case !errors.Is(err, errors.ErrUnsupported):
		return err
	}
	served, hasty := false, 0
	for patience := startAgain; ; {
		serve, err := v.connect(ctx)
		switch {
		case err == nil:
			began := time.Now()
			if err = serve(); err == nil || v.left {
				return nil
			}
			if hasty++; time.Since(began) > atOnce {
				hasty = 0
			}
			v.opts.Log.Warn("looking for another one", "reason", err)
			served, patience = true, startAgain
			v.await(ctx, restartWait)
			if hasty < maxAtOnce {
				continue
			}
		case errors.Is(err, transport.ErrUnreachable) && !served:
			return err
		}
		v.opts.Log.Error("every call will be denied", "reason", err)
		if over, err := v.deny(ctx, err, patience); over || v.left {
			return err
		}
		patience = min(2*patience, time.Minute)
	}
}

// connect attaches client and server to the daemon. Serve returns nil when there is nothing more to say to the client, and
// transport.ErrGone if the daemon is gone before.
func (v *conversation) connect(ctx context.Context) (serve func() error, err error) {
	wait, hello := daemonWait, hello(v.opts)
	if r := v.opts.Remote; r != nil {
		wait = remoteWait
		hello.URL, hello.Transport, hello.Header = r.URL.String(), v.opts.Transport, r.Header
	}
	err = Reach(v.opts, func(socket string) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if v.pipes == nil {
			copying, err := v.attach(ctx, socket, hello)
			serve = func() error {
				copying()
				return nil
			}
			return err
		}
		given, err := transport.Give(ctx, socket, hello, v.pipes)
		serve = func() error { return given.Wait(v.hangUp) }
		return err
	})
	return serve, err
}

// hangUp tells the server that the client has ended.
func (v *conversation) hangUp() {
	v.left = true
	if v.child == nil {
		return
	}
	if v.pipes != nil {
		v.pipes.HangUp()
	}
	v.child.CloseWrite() //nolint:errcheck // it may be closed already
}

// await waits until a daemon listens, but not for long.
func (v *conversation) await(ctx context.Context, patience time.Duration) {
	for late := time.Now().Add(patience); !v.listens(ctx) && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
}

// listens reports whether a daemon listens.
func (v *conversation) listens(ctx context.Context) bool {
	d := net.Dialer{Timeout: lookAgain}
	conn, err := d.DialContext(ctx, "unix", filepath.Join(v.opts.StateDir, config.SocketFile))
	if err == nil {
		conn.Close() //nolint:errcheck // it was only asked
	}
	return err == nil
}

// deny lets messages through by hand, and calls not at all, until a daemon listens or it is time to start one. It is over
// if the conversation has ended before.
func (v *conversation) deny(ctx context.Context, why error, patience time.Duration) (over bool, err error) {
	cleaner, err := wire.NewCleaner(wire.CleanerConfig{MaxValue: wire.MinMaxValue, Secret: []byte("nothing is stored")})
	if err != nil {
		return true, err
	}
	client, server, err := v.sides(ctx)
	if err != nil {
		return true, err
	}
	link := proxy.NewLink(proxy.LinkConfig{
		Judge:   proxy.Denier{Reason: fmt.Sprintf("umpire cannot judge this call: %v", why)},
		Cleaner: cleaner, Log: v.opts.Log, Origin: proxy.Origin{Server: v.opts.Name}, Ledger: client.ledger,
	})
	ended := make(chan error, 1)
	go func() { ended <- link.Pump(client, server) }()
	again, look := time.After(patience), time.NewTicker(lookAgain)
	defer look.Stop()
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			if err != nil {
				v.opts.Log.Error("the connection ended", "error", err)
			}
			return true, nil
		case <-again:
			waiting = !client.drop()
			again = nil
		case <-look.C:
			waiting = !v.listens(ctx) || !client.drop()
		}
	}
	link.Leave("another process goes on")
	client.Close() //nolint:errcheck // ends the pump
	server.Close() //nolint:errcheck // as above
	<-ended        //nolint:errcheck // it was ended
	return false, nil
}

// near is the client's side, while calls are denied.
type near struct {
	*transport.Lines
	side   *transport.Side // nil if nobody else can go on
	ledger *transport.Ledger
}

// drop prepares for somebody else to go on, if that can be.
func (n near) drop() bool {
	if n.side != nil {
		n.side.Drop()
	}
	return n.side != nil
}

// sides returns both sides, to be served here.
func (v *conversation) sides(ctx context.Context) (client near, server proxy.Conn, err error) {
	var given, child *transport.Side
	if v.pipes == nil {
		client.Lines = transport.NewLines(v.own, wire.MaxSize)
	} else {
		if given, child, err = v.pipes.Sides(v.hangUp); err != nil {
			return client, nil, err
		}
		client = near{Lines: transport.NewLines(given, wire.MaxSize), side: given, ledger: given.Ledger()}
	}
	switch {
	case v.child == nil:
		server, err = v.dial(ctx, client.ledger.Greeting())
	case child != nil:
		server = transport.NewLines(child, wire.MaxSize)
	default:
		server = transport.NewLines(v.child, wire.MaxSize)
	}
	return client, server, err
}

// dial connects to a server that is elsewhere.
func (v *conversation) dial(ctx context.Context, greeting []byte) (proxy.Conn, error) {
	server, err := proxy.Dial(ctx, v.opts.Transport, *v.opts.Remote)
	if err == nil && greeting != nil {
		ctx, cancel := context.WithTimeout(ctx, remoteWait)
		defer cancel()
		err = proxy.Rejoin(ctx, server, greeting)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrUnreachable, err)
	}
	return server, nil
}
