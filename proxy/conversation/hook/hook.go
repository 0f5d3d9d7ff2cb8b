package hook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
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

	mu    sync.Mutex
	talks map[string]*talk // by link
}

// The bounds of Hooks.
const (
	maxTalks   = 1000
	maxPending = 1000 // calls of a conversation that have passed and of which the client has not told how they ended
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
	return &Hooks{Config: cfg, talks: map[string]*talk{}}, nil
}

// talk is one conversation of one client.
type talk struct {
	who  proxy.Origin
	used time.Time // guarded by Hooks.mu

	mu      sync.Mutex
	heard   bool // the transcript has been read once
	script  transcript
	words   string             // the model's last, told before they stand in the transcript
	wrote   bool               // they stood there already
	trouble string             // why the transcript was not read the last time
	pending map[string]pending // by id of the tool call
}

// pending is a call that has passed.
type pending struct {
	seq  uint64
	call *event.Call
}

// Hear takes in what a hook of c tells, and returns once it is recorded: then the client may go on. ctx ends when nobody
// waits for the answer any more.
func (h *Hooks) Hear(ctx context.Context, c *Client, raw []byte, from Caller) Answer {
	in, err := c.Parse(raw)
	if err != nil {
		h.Log.Warn("a hook cannot be understood", "client", c.Name, "error", err)
		return c.Refuse(raw, err)
	}
	t := h.talk(in, from)
	told, err := h.hear(t, in, from)
	if in.Kind == Ended {
		h.drop(t, "the conversation ended")
	}
	if err == nil && in.Kind == Before && told == nil {
		return h.judge(ctx, t, in)
	}
	if err != nil && in.Kind == Before {
		return c.Deny("Umpire denied " + in.Tool + ": what the client told of it was " + err.Error() + ".")
	}
	if err != nil {
		return Answer{Exit: exitProblem, Stderr: "umpire: " + err.Error()}
	}
	return Pass
}

// Refuse answers a hook that was not heard: what can be prevented is, and anything else goes on.
func (c *Client) Refuse(raw []byte, why error) Answer {
	if c.blocks(raw) {
		a := c.Deny("Umpire denied the call: " + why.Error() + ".")
		if a.Exit == 0 { // a client that does not understand the answer, either, knows the status
			a.Exit = exitBlock
		}
		a.Stderr = "umpire: " + why.Error()
		return a
	}
	return Answer{Exit: exitProblem, Stderr: "umpire: " + why.Error()}
}

// talk returns the conversation that in is about.
func (h *Hooks) talk(in *Input, from Caller) *talk {
	id := sha256.Sum256([]byte(strconv.Quote(from.Principal) + strconv.Quote(in.Conversation)))
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
		t = &talk{pending: map[string]pending{}, who: proxy.Origin{
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
	h.abandon(t, reason, func(*event.Call) bool { return true })
	h.Gate.Record(t.who, 0, &event.Closed{Link: t.who.Link, Server: Server, Reason: reason})
}

// abandon records that the client will not tell any more how calls ended. t.mu is held; nobody waits for the record.
func (h *Hooks) abandon(t *talk, reason string, which func(*event.Call) bool) {
	for use, p := range t.pending {
		if which(p.call) {
			delete(t.pending, use)
			h.Gate.Record(t.who, p.seq, &event.Result{Server: Server, Tool: p.call.Tool, Outcome: event.OutcomeLost, Text: reason})
		}
	}
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

// hear records what in tells: first what its transcript has become meanwhile. It returns the Turn that announces the call,
// if it is one that goes over MCP, once all of it is on disk.
func (h *Hooks) hear(t *talk, in *Input, from Caller) (told *event.Turn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := h.transcribe(t, in, from)
	record := func(turn *event.Turn) { last = h.Gate.Record(t.by(in.Subagent), 0, turn) }
	switch in.Kind {
	case Prompt:
		record(h.turn(t, in, from, event.RoleUser, in.Text))
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
		told.Calls = []string{in.Use}
		told.Uses = []event.Use{{ID: in.Use, Server: key.Server, Tool: key.Tool, Args: proxy.ArgsDigest(args)}}
		record(told)
	case After, Failed:
		if r := h.result(t, in, from); r != nil {
			last = r
		}
	case Stopped:
		h.abandon(t, "the client has not told how it ended", func(c *event.Call) bool { return c.Asserted[proxy.SubagentID] == in.Subagent })
		if in.Text != "" && !t.wrote {
			turn := h.turn(t, in, from, event.RoleAssistant, in.Text)
			turn.ID, t.words = "", in.Text
			record(turn)
		}
		t.wrote = false
	case Silent, Ended:
	}
	if last == nil {
		return told, nil
	}
	return told, last.Wait()
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

// transcribe records what the transcript has that was not heard yet. What cannot be read is a signal, once: the call is
// judged without it.
func (h *Hooks) transcribe(t *talk, in *Input, from Caller) (last *proxy.Ticket) {
	if in.Transcript == "" || in.Subagent != "" && t.script.path != in.Transcript && t.script.path != "" {
		return nil
	}
	lines, skipped, err := t.script.read(in.Transcript, from.Roots)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return h.trouble(t, in, err.Error())
	case skipped > 0 && t.heard:
		last = h.trouble(t, in, fmt.Sprintf("%d bytes of it came at once, and %d are the most", skipped+int64(len(lines)), maxTail))
	}
	before, known := h.Gate.Heard(&t.who.Peer, in.Conversation)
	t.heard = true
	for _, p := range in.Client.pieces(lines, before, known) {
		if p.role == event.RoleAssistant && p.text == t.words {
			t.words = "" // they were told
			continue
		}
		t.wrote = t.wrote || in.Kind == Stopped && p.role == event.RoleAssistant && p.text == in.Text
		piece := *in
		piece.Subagent, piece.Turn = p.subagent, p.id
		turn := h.turn(t, &piece, from, p.role, p.text)
		turn.Calls = p.calls
		last = h.Gate.Record(t.by(p.subagent), 0, turn)
	}
	return last
}

func (h *Hooks) trouble(t *talk, in *Input, why string) *proxy.Ticket {
	if t.trouble == why {
		return nil
	}
	t.trouble = why
	h.Log.Warn("a transcript is not heard", "client", in.Client.Name, "why", why)
	return h.Gate.Record(t.who, 0, &event.Signal{
		Source: proxy.HookSource + in.Client.Name, Name: "unheard", Link: t.who.Link, Server: Server, Text: h.Cleaner.Text(why),
	})
}

// judge asks for a verdict on a call of a tool that no proxy sees.
func (h *Hooks) judge(ctx context.Context, t *talk, in *Input) Answer {
	args, findings := h.Cleaner.Clean("args", in.Args)
	who := t.by(in.Subagent)
	id, err := json.Marshal(in.Use)
	if err != nil {
		return in.Client.Deny("Umpire denied " + in.Tool + ": its id cannot be written.")
	}
	call := event.Call{
		Link: who.Link, Server: Server, Tool: in.Tool, ID: id, Args: args, Size: len(in.Args), Peer: who.Peer, Findings: findings,
	}
	if in.Client.Use != "" {
		call.Asserted = map[string]string{in.Client.Use: in.Use}
		for k, v := range who.Peer.Asserted {
			call.Asserted[k] = v
		}
	}
	ticket := h.Gate.Call(who, call, proxy.Retry{})
	if err := ticket.Wait(); err == nil && ticket.Hold != nil {
		select {
		case <-ticket.Hold.Done():
		case <-ctx.Done():
			ticket.Hold.Leave("the client gave up")
		}
	}
	v, err := ticket.Settled()
	if err != nil || !v.Action.Passes() {
		return in.Client.Deny(proxy.Explain(Server+"/"+in.Tool, v))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, twice := t.pending[in.Use]; twice || len(t.pending) >= maxPending {
		h.Gate.Record(t.who, ticket.Seq, &event.Result{
			Server: Server, Tool: in.Tool, Outcome: event.OutcomeLost, Text: "the client has another call with this id, or too many",
		})
		return Pass
	}
	t.pending[in.Use] = pending{seq: ticket.Seq, call: &call}
	return Pass
}

// result records how a call ended. t.mu is held.
func (h *Hooks) result(t *talk, in *Input, from Caller) *proxy.Ticket {
	content, outcome := in.Response, event.OutcomeOK
	if in.Kind == Failed {
		outcome = event.OutcomeFailed
	}
	p, ours := t.pending[in.Use]
	if ours && p.call.Tool == in.Tool {
		delete(t.pending, in.Use)
		raw := asResult(content, in.Text)
		clean, findings := h.Cleaner.Clean("result", raw)
		return h.Gate.Record(t.by(in.Subagent), p.seq, &event.Result{
			Server: Server, Tool: in.Tool, Outcome: outcome, Content: clean, Size: len(raw), Findings: findings,
		})
	}
	if announced, came := h.Gate.Announced(&t.who.Peer, in.Use); announced {
		if came || in.Kind == Failed {
			return nil // the proxy has the result, or there is none
		}
		return h.Gate.Record(t.who, 0, &event.Signal{
			Source: proxy.HookSource + in.Client.Name, Name: "passed-by", Link: t.who.Link, Server: Server,
			Text: h.Cleaner.Text(in.Tool + " was called, and the call did not come through Umpire"),
		})
	}
	text := flat(content)
	if text == "" {
		text = in.Text
	}
	turn := h.turn(t, in, from, event.RoleTool, text)
	turn.ID, turn.Calls = "", []string{in.Use}
	return h.Gate.Record(t.by(in.Subagent), 0, turn)
}
