package probe

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/umpire-dev/umpire/proxy/transport"
)

// maxAnswer is how long an answer over WebSocket may be, in bytes.
const maxAnswer = 4 << 20

// socket is MCP over WebSocket, at the client's end.
type socket struct {
	url    string
	header map[string]string
}

// Connect implements mcp.Transport.
func (s socket) Connect(ctx context.Context) (mcp.Connection, error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1) // clients take both
	remote := transport.Remote{URL: u, Header: http.Header{}}
	for name, value := range s.header {
		remote.Header.Set(name, value)
	}
	ws, err := transport.DialWebSocket(ctx, remote, maxAnswer)
	if err != nil {
		return nil, err
	}
	return spoken{ws}, nil
}

// explain makes an error of Connect one of this package.
func (s socket) explain(err error) error {
	var status *transport.StatusError
	if errors.As(err, &status) && status.Code == http.StatusUnauthorized {
		return ErrAuthorization
	}
	return err
}

// spoken is a WebSocket on which MCP is spoken.
type spoken struct{ ws *transport.WebSocket }

// Read implements mcp.Connection.
func (s spoken) Read(context.Context) (jsonrpc.Message, error) {
	text, err := s.ws.Read()
	if err != nil {
		return nil, err
	}
	return jsonrpc.DecodeMessage(text)
}

// Write implements mcp.Connection.
func (s spoken) Write(_ context.Context, m jsonrpc.Message) error {
	text, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		return err
	}
	return s.ws.Write(text)
}

// Close implements mcp.Connection.
func (s spoken) Close() error { return s.ws.Close() }

// SessionID implements mcp.Connection.
func (s spoken) SessionID() string { return "" }
