package hook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/umpire-dev/umpire/proxy"
	"github.com/umpire-dev/umpire/proxy/conversation"
	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Server is the name of the server to which the client's own tools belong in policies and in the history.
const Server = "client"

// Caller is who talks for a client.
type Caller struct {
	Principal string   // verified
	Believed  bool     // nobody else can say what it says
	Roots     []string // where the client keeps its transcripts
}

// Config says what Hooks work with.
type Config struct {
	Gate    *proxy.Gate
	Cleaner *wire.Cleaner
	Keep    conversation.Keep // of what is said; the zero Keep is conversation.KeepText
	Now     func() time.Time  // nil is time.Now
	Log     *slog.Logger      // nil discards
}

// Hooks hears the hooks of all clients. It can be shared.
type Hooks struct {
	Config
	signals proxy.Quota

	mu     sync.Mutex
	talks  map[string]*talk            // by link
	astray map[string]bool             // tools over MCP whose calls did not come through Umpire the last time
	rooms  map[bool]*conversation.Room // of those that are believed, and of those that are not: they cannot silence the others
}

// The bounds of Hooks.
const (
	maxTalks   = 1000
	maxPending = 1000 // calls of a conversation that have passed and of which the client has not told how they ended
	maxAlike   = 64   // announced calls that cannot be told apart
	maxAstray  = 1000 // tools
	maxScripts = 64   // transcripts of a conversation: its own, and those of its sub-agents
	idle       = time.Hour
)

// New returns Hooks.
func New(cfg Config) (*Hooks, error) {
	if cfg.Gate == nil || cfg.Cleaner == nil {
		return nil, errors.New("hook: want a gate and a cleaner")
	}
	var err error
	if cfg.Keep, err = cfg.Keep.Valid(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	now := cfg.Now()
	believed, others := conversation.NewSharedRoom(now), conversation.NewSharedRoom(now)
	return &Hooks{Config: cfg, talks: map[string]*talk{}, astray: map[string]bool{}, rooms: map[bool]*conversation.Room{true: &believed, false: &others}}, nil
}

// talk is one conversation of one client.
type talk struct {
	who  proxy.Origin
	used time.Time         // guarded by Hooks.mu
	room conversation.Room // guarded by Hooks.mu

	mu      sync.Mutex
	heard   bool                 // something was admitted
	main    string               // path of its own transcript
	scripts []*transcript        // that have been read
	trouble string               // why a transcript was not read the last time
	pending map[string][]pending // by the key of the tool call, the first one first
	open    int                  // all of those
	told    map[string][]uint64  // the Turns that announced calls without an id, by their keys
	last    *reply               // to the last hook, of clients that repeat them
	lost    conversation.Losing
}

// errFlood says what a hook that is not admitted is told.
var errFlood = fmt.Errorf("not recorded: %w", conversation.ErrFlood)

// Hear takes in what a hook of c tells, and returns once it is recorded: then the client may go on. ctx ends when nobody
// waits for the answer any more.
func (h *Hooks) Hear(ctx context.Context, c *Client, raw []byte, from Caller) Answer {
	in, err := c.Parse(raw)
	if err != nil {
		if _, ok := h.signals.Take("misunderstood", h.Now()); ok {
			h.Log.Warn("a hook cannot be understood", "client", c.Name, "error", err)
		}
		return c.Refuse(raw, err)
	}
	t := h.talk(in, from)
	if in.again != "" {
		return t.once(ctx, sha256.Sum256([]byte(in.again)), func() Answer { return h.take(ctx, t, in, from) })
	}
	return h.take(ctx, t, in, from)
}

// reply is the answer to a hook that its client may tell again.
type reply struct {
	id     [sha256.Size]byte // of the hook
	done   chan struct{}     // closed once there is an answer
	answer Answer
}

// once does what a hook asks for, unless it was the last one already: then the answer is the same.
func (t *talk) once(ctx context.Context, id [sha256.Size]byte, do func() Answer) Answer {
	t.mu.Lock()
	last := t.last
	again := last != nil && last.id == id
	if !again {
		last = &reply{id: id, done: make(chan struct{}), answer: Answer{Exit: exitBlock, Stderr: "umpire: the hook was not heard"}}
		t.last = last
	}
	t.mu.Unlock()
	if again {
		select {
		case <-last.done:
			return last.answer
		case <-ctx.Done():
			return Answer{Exit: exitBlock, Stderr: "umpire: the client gave up"}
		}
	}
	defer close(last.done)
	last.answer = do()
	return last.answer
}

// take records what in tells, and answers.
func (h *Hooks) take(ctx context.Context, t *talk, in *Input, from Caller) Answer {
	told, err := h.hear(t, in, from)
	if in.Kind == Ended {
		h.drop(t, "the conversation ended")
	}
	if err == nil && in.Kind == Before && told == nil {
		return h.judge(ctx, t, in)
	}
	if err != nil && in.Kind == Before {
		return in.Client.Deny("Umpire denied " + in.Tool + ": what the client told of it was " + err.Error() + ".")
	}
	if err != nil {
		return Answer{Exit: exitProblem, Stderr: "umpire: " + err.Error()}
	}
	return in.Client.passes(in.asked)
}

// admit takes room for what is told: false says that too much is said in a short time. t.mu is held.
func (h *Hooks) admit(t *talk, from Caller, size int) bool {
	now := h.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	shared := h.rooms[from.Believed]
	if !t.room.Has(now, size) || !shared.Has(now, size) {
		return false
	}
	t.room.Take(size)
	shared.Take(size)
	t.heard = true
	return true
}

// flood records that something was said which is not recorded.
func (h *Hooks) flood(t *talk, in *Input, what string) {
	if missed, ok := h.signals.Take("flood", h.Now()); ok {
		if missed > 0 {
			what = fmt.Sprintf("%s (and %d more signals were not recorded)", what, missed)
		}
		h.signal(t, in, "flood", what)
	}
}

// Refuse answers a hook that was not heard: what can be prevented is, and anything else goes on.
func (c *Client) Refuse(raw []byte, why error) Answer {
	c = c.speaker(raw)
	if c.blocks(raw) {
		a := c.Deny("Umpire denied the call: " + why.Error() + ".")
		if a.Exit == 0 { // a client that does not understand the answer, either, knows the status
			a.Exit = c.status
		}
		a.Stderr = "umpire: " + why.Error()
		return a
	}
	return Answer{Exit: exitProblem, Stderr: "umpire: " + why.Error()}
}

// talk returns the conversation that in is about. Who is not believed ends no call of those who are, and takes none of their room.
func (h *Hooks) talk(in *Input, from Caller) *talk {
	id := sha256.Sum256(fmt.Appendf(nil, "%q%q%t", from.Principal, in.Conversation, from.Believed))
	link := "hook:" + in.Client.Name + ":" + hex.EncodeToString(id[:8])
	now := h.Now()
	var over []*talk
	defer func() {
		for _, t := range over {
			h.end(t, "unused for an hour")
		}
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.talks[link]
	if t == nil {
		var oldest string
		for k, t := range h.talks {
			if now.Sub(t.used) > idle {
				over = append(over, t)
				delete(h.talks, k)
			} else if oldest == "" || t.used.Before(h.talks[oldest].used) {
				oldest = k
			}
		}
		if len(h.talks) >= maxTalks {
			over = append(over, h.talks[oldest])
			delete(h.talks, oldest)
		}
		t = &talk{room: conversation.NewRoom(now), pending: map[string][]pending{}, told: map[string][]uint64{}, who: proxy.Origin{
			Link: link, Server: Server, Transport: proxy.TransportHook,
			Peer: event.Peer{
				Principal: from.Principal, Agent: in.Client.Agent, Client: event.Client{Name: in.Client.Agent}, Workspace: in.Workspace,
				Asserted: map[string]string{in.Client.Session: in.Conversation},
			},
		}}
		h.talks[link] = t
	}
	t.used = now
	return t
}

// drop ends a conversation.
func (h *Hooks) drop(t *talk, reason string) {
	h.mu.Lock()
	if h.talks[t.who.Link] == t {
		delete(h.talks, t.who.Link)
	}
	h.mu.Unlock()
	h.end(t, reason)
}

// end records that a conversation is over, and what was left open in it.
func (h *Hooks) end(t *talk, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.heard {
		return
	}
	h.abandon(t, reason, func(*event.Call) bool { return true })
	h.Gate.Record(t.who, 0, &event.Closed{Link: t.who.Link, Server: Server, Reason: reason})
}

// by returns who does what in tells of: the agent that the user talks to, or one of its sub-agents.
func (t *talk) by(subagent string) proxy.Origin {
	who := t.who
	if subagent != "" {
		who.Peer.Asserted = map[string]string{proxy.SubagentID: subagent}
		for k, v := range t.who.Peer.Asserted {
			who.Peer.Asserted[k] = v
		}
	}
	return who
}

// hear records what in tells: first what its transcripts have become meanwhile. It returns the Turn that announces the call,
// if it is one that goes over MCP, once all of it is on disk.
func (h *Hooks) hear(t *talk, in *Input, from Caller) (told *event.Turn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !h.admit(t, from, in.size()) {
		h.flood(t, in, in.Event+" is not recorded: too much is said in a short time")
		if size := len(in.Response) + len(in.Text); (in.Kind == After || in.Kind == Failed) && size > 0 && t.lost.Due(h.Now()) {
			turn := conversation.Unheard(proxy.HookSource+in.Client.Name, t.by(in.Subagent).Peer, size)
			turn.Conversation = in.Conversation
			h.Gate.Record(t.by(in.Subagent), 0, turn)
		}
		return nil, errFlood
	}
	last := h.transcribe(t, in, from)
	record := func(turn *event.Turn) { last = h.Gate.Record(t.by(in.Subagent), 0, turn) }
	switch in.Kind {
	case Prompt:
		for _, turn := range h.prompt(t, in, from) {
			record(turn)
		}
	case Before:
		if in.MCP == nil {
			break
		}
		key, known := h.Gate.FindTool(in.MCP)
		if !known {
			break
		}
		args, _ := h.Cleaner.Clean("args", in.Args)
		told = h.turn(t, in, from, event.RoleAssistant, "")
		told.Uses = []event.Use{{ID: in.Use, Server: key.Server, Tool: key.Tool, Args: proxy.ArgsDigest(args)}}
		if in.Use != "" {
			told.Calls = []string{in.Use}
		}
		if record(told); in.Use == "" && last.Wait() == nil {
			t.tell(in.key(), last.Seq)
		}
		if h.strayed(in, from) {
			told = nil // nobody else may judge it
		}
	case After, Failed:
		if r := h.result(t, in, from); r != nil {
			last = r
		}
	case Said, Stopped:
		if in.Kind == Stopped {
			clear(t.told)
			h.abandon(t, "the client has not told how it ended", func(c *event.Call) bool { return c.Asserted[proxy.SubagentID] == in.Subagent })
		}
		if turn := h.words(t, in, from); turn != nil {
			record(turn)
		}
	case Silent, Ended:
	}
	if last == nil {
		return told, nil
	}
	return told, last.Wait()
}

// prompt makes Turns of what the user has said. What an agent asks of its sub-agent is the agent's, and what a client puts
// among the user's words is nobody's whom one could trust.
func (h *Hooks) prompt(t *talk, in *Input, from Caller) (turns []*event.Turn) {
	if in.Subagent != "" {
		return []*event.Turn{h.turn(t, in, from, event.RoleAssistant, in.Text)}
	}
	own, quoted := conversation.OfUser(in.Text)
	if own != "" || quoted == "" {
		turns = append(turns, h.turn(t, in, from, event.RoleUser, own))
	}
	if quoted != "" {
		turn := h.turn(t, in, from, event.RoleSystem, quoted)
		turn.Trust, turn.ID = event.Untrusted, "" // the id is that of what the user says
		turns = append(turns, turn)
	}
	return turns
}

// words makes a Turn of what the model says; nil if it stood in the transcript already. t.mu is held.
func (h *Hooks) words(t *talk, in *Input, from Caller) *event.Turn {
	script := t.spoken(in)
	known := script != nil && script.last == in.Text
	if script != nil {
		script.last = ""
	}
	if in.Text == "" || known {
		return nil
	}
	if script != nil {
		script.words = in.Text
	}
	turn := h.turn(t, in, from, event.RoleAssistant, in.Text)
	turn.ID = ""
	return turn
}

// turn makes a Turn of a text.
func (h *Hooks) turn(t *talk, in *Input, from Caller, role event.Role, text string) *event.Turn {
	turn := &event.Turn{
		Role: role, Source: proxy.HookSource + in.Client.Name, Trust: event.Untrusted,
		Conversation: in.Conversation, ID: in.Turn, Peer: t.by(in.Subagent).Peer,
	}
	if from.Believed {
		turn.Trust = event.Trusted
	}
	if text != "" {
		h.Keep.Write(turn, h.Cleaner, text)
	}
	return turn
}

// signal records what has to be known about the hearing itself.
func (h *Hooks) signal(t *talk, in *Input, name, text string) *proxy.Ticket {
	return h.Gate.Record(t.who, 0, &event.Signal{
		Source: proxy.HookSource + in.Client.Name, Name: name, Link: t.who.Link, Server: Server, Text: h.Cleaner.Text(text),
	})
}
