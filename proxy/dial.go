package proxy

import (
	"context"
	"fmt"

	"github.com/umpire-dev/umpire/proxy/transport"
	"github.com/umpire-dev/umpire/proxy/wire"
)

// Dial opens a connection to a server over the transport of this name: TransportHTTP, TransportSSE or TransportWS. Over
// Streamable HTTP nothing is sent yet.
func Dial(ctx context.Context, kind string, remote transport.Remote) (Conn, error) {
	switch kind {
	case TransportHTTP:
		return newStreamable(remote), nil
	case TransportSSE:
		return conn(transport.DialLegacy(ctx, remote, wire.MaxSize))
	case TransportWS:
		return conn(transport.DialWebSocket(ctx, remote, wire.MaxSize))
	}
	return nil, fmt.Errorf("proxy: no server is reached over %q", kind)
}

// conn keeps a connection that could not be opened from becoming a Conn that is not nil.
func conn[C Conn](c C, err error) (Conn, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
