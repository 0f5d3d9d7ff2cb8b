package console

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// The bounds of sockets.
const (
	maxSockets = 32
	pause      = 250 * time.Millisecond // between two pieces of news, however much happens
	heartbeat  = 20 * time.Second       // a page that hears nothing for twice as long connects anew
	stalled    = 10 * time.Second       // a browser that takes longer to read is gone
)

// Protocol is the subprotocol of the socket on which pages hear news.
const Protocol = "umpire.console.v1"

// News is what a page hears: that there is more, and not what. It asks the API for what it shows.
type News struct {
	Last uint64 `json:"last"` // Seq of the newest event
	Held int    `json:"held"` // calls that wait for a person
}

// news tells a page over a WebSocket how far the history has come: at once, whenever there is more, and as a heartbeat.
func (c *Console) news(w http.ResponseWriter, r *http.Request) {
	select {
	case c.live <- struct{}{}:
		defer func() { <-c.live }()
	default:
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	u := websocket.Upgrader{
		Subprotocols: []string{Protocol}, HandshakeTimeout: stalled,
		CheckOrigin: func(*http.Request) bool { return true }, // it was
	}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer conn.Close() //nolint:errcheck // nothing is left to say
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	helpers.Go(func() { // a page has nothing to say: what is read is its end
		defer cancel()
		conn.SetReadLimit(1 << 10)
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	})
	more, last := make(chan struct{}), c.cfg.Feed.Last()
	helpers.Go(func() { c.watch(ctx, last, more) })
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		conn.SetWriteDeadline(time.Now().Add(stalled)) //nolint:errcheck // never fails
		if conn.WriteJSON(News{c.cfg.Feed.Last(), c.cfg.Waits()}) != nil {
			return
		}
		select {
		case <-more:
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-c.cfg.Done:
			conn.WriteControl(websocket.CloseMessage, //nolint:errcheck // it is over either way
				websocket.FormatCloseMessage(websocket.CloseGoingAway, "umpire is stopping"), time.Now().Add(time.Second))
			return
		}
	}
}

// watch says that there is more in the history than seq, again and again with a pause in between, until ctx is done.
func (c *Console) watch(ctx context.Context, seq uint64, more chan<- struct{}) {
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return
		}
		came := false
		for _, err := range c.cfg.Feed.Watch(ctx.Done(), seq+1) {
			came = err == nil
			break
		}
		if !came { // the history ends
			return
		}
		seq = c.cfg.Feed.Last()
		select {
		case more <- struct{}{}:
		case <-ctx.Done():
			return
		}
		rest.Reset(pause)
	}
}
