package transport

import (
	"context"
	"net"
	"os"
)

// A shim that gives the daemon its pipes copies nothing: the daemon itself reads what the client and the child write.
// The two keep one connection, by which each knows that the other is there:
//
//	POST /v1/pipes/files {Hello} -> 101
//	shim:   one byte, and with it the client's stdin and stdout and the child's stdout and stdin
//	daemon: one byte when the client has ended, so that the child has to; the end when all is said
const pathPipesFiles = "/v1/pipes/files"

// Ends are the pipes to one side: what it says is read from In, and what it is told is written to Out.
type Ends struct {
	In, Out *os.File
}

// Given is what a shim keeps of the pipes that it has given away.
type Given struct {
	conn *net.UnixConn
}

// Give gives the pipes to the client and to the child to the daemon that listens on the unix socket at path, and closes
// them here. If they are neither pipes nor sockets, or if this system or the daemon cannot pass such on, the error is
// errors.ErrUnsupported; after any error the files are as they were.
func Give(ctx context.Context, path string, hello Hello, client, server Ends) (*Given, error) {
	return give(ctx, path, hello, []*os.File{client.In, client.Out, server.In, server.Out})
}

// Wait calls left when the client has ended, and returns when the daemon has said all that there was to say, or is gone;
// then it has called left as well.
func (g *Given) Wait(left func()) {
	defer g.conn.Close() //nolint:errcheck // nobody is there any more
	for {
		_, err := g.conn.Read(make([]byte, 1))
		left()
		if err != nil {
			return
		}
	}
}
