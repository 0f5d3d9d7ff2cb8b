package proxy

import (
	"fmt"
	"strconv"
	"time"

	"github.com/umpire-dev/umpire/rules/event"
)

// Idle is how long a session lives without a call or a turn. What else happens in it does not keep it alive.
const Idle = 30 * time.Minute

// conversationIDs are the ids of a conversation that clients send, in the order in which they are believed.
var conversationIDs = []string{"sessionId", "threadId", "CLAUDE_CODE_SESSION_ID", "COPILOT_AGENT_SESSION_ID"}

// directory derives sessions. A connection is no conversation: one conversation spans servers and connections, and the
// revision 2026-07-28 knows no connections. A session is a principal with a client, told apart by the conversation that
// the client names, else by its process and workspace, and it ends after Idle.
//
// The directory is a fold of the log like the rules' State, and the gate owns both.
type directory struct {
	sessions map[string]*session // by key
	roomy    int                 // how many there may be before those are forgotten that nobody asks for
}

type session struct {
	id     string
	active event.Time
	links  map[string]bool // the links that were opened in it
}

// ended reports whether nothing has happened in s for too long.
func (s *session) ended(at event.Time) bool { return at.Sub(s.active) > Idle }

// forgettable reports whether nobody asks for s any more: it has ended, and so have the links that were opened in it, or
// they would have if anybody had looked.
func (s *session) forgettable(at event.Time) bool {
	return s.ended(at) && (len(s.links) == 0 || at.Sub(s.active) > linkIdle)
}

func newDirectory() *directory {
	return &directory{sessions: map[string]*session{}, roomy: fewSessions}
}

const fewSessions = 1000

// of returns the session of the calls that p makes, if there is one. The key says which calls belong together.
func (d *directory) of(p *event.Peer) *session {
	var buf [128]byte
	return d.sessions[string(appendKey(buf[:0], p))]
}

func appendKey(key []byte, p *event.Peer) []byte {
	key = append(strconv.AppendQuote(key, p.Principal), ' ')
	for _, name := range conversationIDs {
		if id := p.Asserted[name]; id != "" {
			key = append(strconv.AppendQuote(key, p.Agent), ' ')
			return strconv.AppendQuote(append(append(key, name...), '='), id)
		}
	}
	if p.Process != "" {
		return strconv.AppendQuote(append(strconv.AppendQuote(key, p.Process), " in "...), p.Workspace)
	}
	return strconv.AppendQuote(key, p.Agent)
}

// find returns the session of p at the given time and whether link was opened in it. If there is none, opening one with
// the event seq makes it "s" and seq. It changes nothing: what is not an event would not be there after a restart.
func (d *directory) find(p *event.Peer, link string, at event.Time, seq uint64) (id string, opened bool) {
	s := d.of(p)
	if s == nil || s.ended(at) {
		return fmt.Sprintf("s%d", seq), false
	}
	return s.id, s.links[link]
}

// apply folds an event.
func (d *directory) apply(e event.Event) {
	switch b := e.Body.(type) {
	case *event.Opened:
		s := d.of(&b.Peer)
		if s == nil || s.id != e.Session {
			s = &session{id: e.Session, links: map[string]bool{}}
			if len(d.sessions) >= d.roomy {
				d.sweep(e.At)
			}
			d.sessions[string(appendKey(nil, &b.Peer))] = s
		}
		s.active = e.At
		s.links[b.Link] = true
	case *event.Call:
		d.active(&b.Peer, e)
	case *event.Turn:
		d.active(&b.Peer, e)
	case *event.Closed:
		for _, s := range d.sessions {
			delete(s.links, b.Link)
		}
	case *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Verdict, *event.Review, *event.Expired, *event.Result, *event.Signal:
	}
}

// active notes that the session of p has done something.
func (d *directory) active(p *event.Peer, e event.Event) {
	if s := d.of(p); s != nil && s.id == e.Session {
		s.active = e.At
	}
}

// used returns when the sessions in which links are open were last active.
func (d *directory) used() map[string]event.Time {
	used := map[string]event.Time{}
	for _, s := range d.sessions {
		for link := range s.links {
			used[link] = max(used[link], s.active)
		}
	}
	return used
}

// sweep forgets the sessions that nobody asks for.
func (d *directory) sweep(at event.Time) {
	for k, s := range d.sessions {
		if s.forgettable(at) {
			delete(d.sessions, k)
		}
	}
	d.roomy = max(fewSessions, 2*len(d.sessions))
}
