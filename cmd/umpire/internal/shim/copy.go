package shim

import (
	"context"
	"io"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/child"
	"github.com/umpire-dev/umpire/proxy/transport"
)

// attach opens connections to the daemon, to copy between them and pipes that cannot be given away. Serve returns when
// either end has gone, the daemon included.
func (v *conversation) attach(ctx context.Context, socket string, hello transport.Hello) (serve func(), err error) {
	if v.child == nil {
		client, err := transport.AttachRemote(ctx, socket, hello)
		return func() {
			go splice(client, v.own)
			splice(v.own, client)
		}, err
	}
	client, server, err := transport.Attach(ctx, socket, hello)
	return func() { copyAll(v.own, v.child, client, server) }, err
}

// copyAll copies between the pipes and the daemon until the daemon has said everything to the client.
func copyAll(own *pipeEnds, c *child.Child, client, server io.ReadWriter) {
	go func() {
		splice(client, own)
		c.HangUp()
	}()
	go splice(c, server)
	go splice(server, c)
	splice(own, client)
}

// splice copies until from ends, and tells to so.
func splice(to io.Writer, from io.Reader) {
	io.Copy(to, from) //nolint:errcheck // either end being gone is the end
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() //nolint:errcheck // it may be gone already
	}
}
