package event

import (
	"encoding/json"
	"unicode/utf8"
)

// Body is what happened: one of the types below, always by pointer. The set is closed.
//
//sumtype:decl
type Body interface {
	// Kind names the type on disk and on export: "call", "verdict", …
	Kind() string
	body()
}

// Opened says that a client began to use a server within a session. It comes right before the first event that the
// pair causes; a connection that never does anything worth recording leaves no trace.
type Opened struct {
	Link      string `json:"link"`   // names the client-server pair until it is closed
	Server    string `json:"server"` // name of the server in the configuration
	Transport string `json:"transport"`
	Protocol  string `json:"protocol,omitempty"` // negotiated protocol revision, such as "2025-11-25"
	Peer
}

// Peer is who calls, as far as it is known.
type Peer struct {
	Principal string            `json:"principal"` // verified: "local:alice" or "token:" and 8 hex digits of its SHA-256
	Agent     string            `json:"agent"`     // the client's own name for itself: a claim
	Client    Client            `json:"client"`
	Workspace string            `json:"workspace,omitempty"` // working directory of the client, if it is local
	Process   string            `json:"process,omitempty"`   // the client's process, if it is local: "claude[4711]"
	Asserted  map[string]string `json:"asserted,omitempty"`  // conversation ids that the client sent: claims
}

// Client is MCP's clientInfo: a claim.
type Client struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

// Loaded says that a policy came into force. It holds all that is needed to compile the same policy again.
type Loaded struct {
	Digest  string   `json:"digest"` // hex SHA-256 over the texts of Sources and Env
	Sources []Source `json:"sources"`
	Env     Env      `json:"env"`
}

// Source is one policy file.
type Source struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Env is what a policy needs to know about the machine on which servers run.
type Env struct {
	OS   string `json:"os"`             // as in GOOS: which spellings of a path are the same file
	Home string `json:"home,omitempty"` // what "~" stands for
}

// Catalog holds the tools of a server's tools/list that are new or that changed.
type Catalog struct {
	Server   string `json:"server"`
	Tools    []Tool `json:"tools"`
	Complete bool   `json:"complete,omitempty"` // the list ended here, for the first time: what comes later was added
}

// Tool is one tool as its server describes it: a claim of the server. JSON in it is in canonical form.
type Tool struct {
	Name         string          `json:"name"`
	Long         int             `json:"long,omitempty"` // bytes of a definition that is too long to keep: the texts are missing
	Title        string          `json:"title,omitempty"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
	Annotations  json.RawMessage `json:"annotations,omitempty"`
	More         json.RawMessage `json:"more,omitempty"` // an object of whatever else it has, but for _meta and icons
	// Pin is the hex SHA-256 of all of it in canonical form: equal for definitions that say the same. It is empty in
	// histories from before tools were pinned.
	Pin string `json:"pin,omitempty"`
	// Skeleton is equal for names that look alike; it is empty if it is the name itself.
	Skeleton string  `json:"skeleton,omitempty"`
	Doubts   []Doubt `json:"doubts,omitempty"`
	// Passages are its texts that give orders or hide something. They are found when a list is read, and count from then on
	// as what a result says in such a passage.
	Passages []Passage `json:"passages,omitempty"`
}

// Doubt is something about a tool that a person should look at before it is used. Doubts are found when a list is read,
// and recorded with it.
type Doubt struct {
	Kind string `json:"kind"`           // Changed, Hidden, Twin or Added
	Path string `json:"path,omitempty"` // where: "description", "inputSchema.properties.path.description"
	Text string `json:"text,omitempty"` // Hidden: which characters. Twin: the other tool. Changed: which parts
}

// The kinds of doubts.
const (
	Changed = "changed" // the definition is not one that was pinned
	Hidden  = "hidden"  // it has characters that a reader does not see, or that show text in another order
	Twin    = "twin"    // its name looks like that of another tool
	Added   = "added"   // it came after the first list of its server was complete
)

// Accepted says that a person has looked at tools and accepts them as they are described now: what was doubtful about
// them is settled.
type Accepted struct {
	Who    string `json:"who"` // verified: "local:alice"
	Server string `json:"server"`
	Tools  []Pin  `json:"tools"`
}

// Pin names a definition of a tool.
type Pin struct {
	Name string `json:"name"`
	Pin  string `json:"pin"` // as in Tool
}

// Promoted says that a person put a baseline into force: what is normal for each agent, from then on. It holds all that is
// needed to judge by the same one again.
type Promoted struct {
	Who      string          `json:"who"`      // verified: "local:alice"
	Digest   string          `json:"digest"`   // of the baseline
	Name     string          `json:"name"`     // of the file that it came from
	Baseline json.RawMessage `json:"baseline"` // what baseline.Parse reads
}

// Call is a tools/call that asks to pass. Rules see exactly what is stored here: secrets are already replaced and
// values that are too long already cut, and Findings says where.
type Call struct {
	Link   string          `json:"link"`
	Server string          `json:"server"`
	Tool   string          `json:"tool"`
	ID     json.RawMessage `json:"id"`   // JSON-RPC id, the client's own token
	Args   json.RawMessage `json:"args"` // JSON object
	Size   int             `json:"size"` // bytes of the arguments as sent
	Peer
	Retry uint64 `json:"retry,omitempty"` // Seq of the first attempt, when this continues a call that asked for input
	// Seen says that nobody could judge the call: the model's side made it by itself, and somebody heard of it. There is no
	// Verdict on it. It happened, so it counts as a call that has passed, and its server is a name that the client chose.
	Seen  bool   `json:"seen,omitempty"`
	Bound *Bound `json:"bound,omitempty"` // nil if no conversation is known to which it could belong
	Trace string `json:"trace,omitempty"` // id of the trace (W3C) that it is part of: a claim
	// Intent is why the model says that it makes the call: a claim, and no part of the arguments.
	Intent   string    `json:"intent,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Bound says to which piece of a conversation a call belongs, and how that is known.
type Bound struct {
	By           Binding    `json:"by"`
	Confidence   Confidence `json:"confidence"`
	Turn         uint64     `json:"turn,omitempty"`         // Seq of the Turn that announced the call, else of the last one of its conversation; 0 if unbound
	Others       []uint64   `json:"others,omitempty"`       // Seqs of Turns that announced it just as well; at most MaxEvidence
	Use          string     `json:"use,omitempty"`          // id of the tool call in the conversation: a claim
	Conversation string     `json:"conversation,omitempty"` // id of the conversation: a claim of who heard it
	Subagent     string     `json:"subagent,omitempty"`     // id of the sub-agent that calls, where the client tells them apart
	Missing      bool       `json:"missing,omitempty"`      // its agent announces its calls, and this one was not announced
}

// Binding is by what a call was bound. The zero Binding is that it was not.
type Binding string

// The bindings, the surest first.
const (
	ByCall      Binding = "call"      // the id of the tool call
	ByItem      Binding = "item"      // the id of the item of the model's answer
	ByTurn      Binding = "turn"      // the id of the turn
	BySession   Binding = "session"   // the id of the conversation
	ByArguments Binding = "arguments" // server, tool and arguments, within 30 s
	ByTrace     Binding = "trace"     // the id of the trace
	ByNothing   Binding = "none"
)

// Confidence is how sure a Bound is. The zero Confidence is that nothing is.
type Confidence string

// The confidences, the greatest first.
const (
	Exact     Confidence = "exact"     // this very call was announced by somebody who can be believed
	Likely    Confidence = "likely"    // it is this conversation, but perhaps another piece of it
	Ambiguous Confidence = "ambiguous" // there are others to which it could belong as well: none of them vouches for it
	Unsure    Confidence = "none"
)

// Finding is something that Parse saw in a message and that is no longer visible in what is stored.
type Finding struct {
	Kind string `json:"kind"` // Redacted or Truncated
	Path string `json:"path"` // where: "args.user.password", "result.content.0.text"
	Size int    `json:"size"` // bytes of the value as sent
	// Form says of a redacted value that it has the form of a well-known token; others are secret by their place.
	Form bool `json:"form,omitempty"`
}

// The kinds of findings.
const (
	Redacted  = "redacted"  // a secret; the value is now a keyed digest, equal for equal secrets
	Truncated = "truncated" // longer than history.max_value; the value is now its beginning
)

// Passage is a part of a text that asks for something, talks to the assistant, or is hidden from people.
type Passage struct {
	Kind string `json:"kind"`
	Path string `json:"path"` // of the text in which it stands: "result.content.0.text", "inputSchema.properties.path.description"
	Text string `json:"text"` // how it begins
	Size int    `json:"size"` // bytes of it
}

// The kinds of passages.
const (
	Asks   = "asks for an action"
	Talks  = "talks to the assistant"
	Unseen = "hidden"
)

// MaxPassages bounds how many passages of a body, or of a tool, are noted.
const MaxPassages = 8

// Clip returns the beginning of a text, as much of it as a Passage has.
func Clip(text string) string {
	const longest = 200
	if len(text) <= longest {
		return text
	}
	n := longest
	for n > longest-4 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// Verdict is the decision on a call (Cause is the call). A call that is held gets a second one when the hold ends: it
// comes right after the Review or the Expired that ended it.
type Verdict struct {
	Action   Action   `json:"action"`
	Rule     string   `json:"rule,omitempty"`     // the rule that decided; empty if none matched
	Why      string   `json:"why,omitempty"`      // one sentence with its numbers
	Evidence []uint64 `json:"evidence,omitempty"` // Seqs of the calls that caused it, oldest first, at most MaxEvidence
	Origins  []Origin `json:"origins,omitempty"`  // where values of the call came from about which the rule asked; at most MaxEvidence
	Hint     string   `json:"hint,omitempty"`     // what would be allowed
	RetryMS  int64    `json:"retry_ms,omitempty"` // after so many milliseconds the same call could pass; 0 if waiting does not help
	Policy   string   `json:"policy"`             // digest of the policy
	After    uint64   `json:"after,omitempty"`    // Seq of the Review or Expired that ended the hold; 0 for a first verdict
	Also     []Match  `json:"also,omitempty"`     // every other rule that matched, in the order of the policy
}

// Origin says where a value of a call can have come from.
type Origin struct {
	Path string `json:"path,omitempty"` // of the value: "args.recipient"; empty if the rule spells none
	Seq  uint64 `json:"seq"`            // of the call whose result has it, of the turn, or of the list of tools
	// Bytes From to To of what that says: of the text of a turn, or of the texts of a result (rules.Texts). Both are 0 if the value
	// stands there in another form, or if no text is kept.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
}

// MaxEvidence bounds Verdict.Evidence and Match.Evidence: the newest ones are kept.
const MaxEvidence = 20

// Match is a rule that applied to a call, besides the one that decided.
type Match struct {
	Action   Action   `json:"action"`
	Rule     string   `json:"rule"`
	Why      string   `json:"why"`
	Evidence []uint64 `json:"evidence,omitempty"`
	Observed bool     `json:"observed,omitempty"` // the rule is in observe mode: this is what it would have done
	Excepted bool     `json:"excepted,omitempty"` // an exception from the rule is about the call: this is what it would have done
	// Exception is the Seq of that Exception; 0 if it stands in the policy.
	Exception uint64 `json:"exception,omitempty"`
}

// Review is what a person decided about a call that is held (Cause is the call). It is good for this one call, and it
// says what the person decided about.
type Review struct {
	Who     string `json:"who"` // verified: "local:alice"; what a client says its user has decided: "client:claude-code (local:alice)"
	Approve bool   `json:"approve"`
	Note    string `json:"note,omitempty"`
	Server  string `json:"server"`
	Tool    string `json:"tool"`
	Args    string `json:"args"`    // hex SHA-256 of Call.Args
	Policy  string `json:"policy"`  // digest of the policy that held the call
	Expires Time   `json:"expires"` // when the hold would have ended
}

// Exception says that a person lets calls pass for a while that rules with do: hold would stop (Cause is the call),
// as the one that the person has looked at. Its Seq names it. It is about calls that have all that it says, and no other rule; it has
// one of Args and With.
type Exception struct {
	Who       string     `json:"who"` // verified: "local:alice"
	Note      string     `json:"note,omitempty"`
	Rules     []Ruling   `json:"rules"`
	Principal string     `json:"principal"`
	Agent     string     `json:"agent"`
	Workspace string     `json:"workspace,omitempty"`
	Server    string     `json:"server"`
	Tool      string     `json:"tool"`
	Args      string     `json:"args,omitempty"` // hex SHA-256 of all arguments in canonical form
	With      []Argument `json:"with,omitempty"` // the arguments that are asked for, whatever the others are
	Expires   Time       `json:"expires"`
}

// Ruling names a rule as it was written: one that says something else now is another one.
type Ruling struct {
	Name       string `json:"name"`
	Definition string `json:"definition"` // hex SHA-256 of what the rule says, in canonical form, but for its exceptions
}

// Argument is an argument and its value: a text, a number or a boolean.
type Argument struct {
	Path  string          `json:"path"` // "args.order_id"
	Value json.RawMessage `json:"value"`
}

// Revoked says that a person ends an Exception before its time (Cause is the Exception).
type Revoked struct {
	Who  string `json:"who"` // verified: "local:alice"
	Note string `json:"note,omitempty"`
}

// Expired says that a hold ended without a decision, or with one that came too late (Cause is the call).
type Expired struct {
	Server string `json:"server"`
	Tool   string `json:"tool"`
	Reason string `json:"reason"` // "nobody decided within 5m", "the client gave up", …
}

// Result is how a call that had passed ended (Cause is the call). A call that started a task gets a second one when the
// server says how that ended, and a third if it says so before it gives the result itself (Size is 0 in the second).
type Result struct {
	Server   string          `json:"server"`
	Tool     string          `json:"tool"`
	Outcome  Outcome         `json:"outcome"`
	Code     int64           `json:"code,omitempty"`    // JSON-RPC error code, with OutcomeError
	Text     string          `json:"text,omitempty"`    // why there is no content, with OutcomeError, OutcomeUnclear and OutcomeLost
	Content  json.RawMessage `json:"content,omitempty"` // the result object, cleaned as the arguments are
	Size     int             `json:"size"`              // bytes of the result as sent
	Root     uint64          `json:"root,omitempty"`    // Seq of the first attempt, when the call was a retry
	Task     string          `json:"task,omitempty"`    // names the task that the call started, or by which it ended: a digest of its id
	Seen     bool            `json:"seen,omitempty"`    // the call was: nobody knows the server that gave it
	Findings []Finding       `json:"findings,omitempty"`
	Passages []Passage       `json:"passages,omitempty"` // of Content and Text
}

// Outcome tells how a call ended. The zero Outcome is that nothing is known.
type Outcome string

// The outcomes.
const (
	OutcomeOK      Outcome = "ok"      // a result without isError
	OutcomeFailed  Outcome = "failed"  // a result with isError
	OutcomeError   Outcome = "error"   // a JSON-RPC error, an HTTP status of 4xx, or no connection to send the call on
	OutcomeUnclear Outcome = "unclear" // an answer that does not say what happened, or an HTTP status of 5xx; whether the tool ran is unknown
	OutcomeInput   Outcome = "input"   // the server asks for input; the client will try again
	OutcomeStarted Outcome = "started" // a task was created; its result comes later
	OutcomeLost    Outcome = "lost"    // no answer came and none will; whether the tool ran is unknown

	// OutcomeCancelled says that the task was cancelled. Whether the tool ran is unknown, and it may still be running.
	OutcomeCancelled Outcome = "cancelled"
)

// Failed reports whether it is certain that the tool did not do what was asked.
func (o Outcome) Failed() bool { return o == OutcomeFailed || o == OutcomeError }

// Answered reports whether the server has finished with the call.
func (o Outcome) Answered() bool { return o == OutcomeOK || o == OutcomeUnclear || o.Failed() }

// Signal is an observation that is neither a call nor an answer, such as a message that was refused.
type Signal struct {
	Source string `json:"source"` // who observed: "wire", "server", "store"
	Name   string `json:"name"`   // what: "refused", "unknown-id", …
	Link   string `json:"link,omitempty"`
	Server string `json:"server,omitempty"`
	Text   string `json:"text"`
}

// Turn is one piece of a conversation, as somebody who hears it passes it on: what the user said, what the model answered,
// what a tool gave it. As with a Call, rules see exactly what is stored here.
type Turn struct {
	Role         Role     `json:"role"`             // whose words they are, as the source says
	Source       string   `json:"source"`           // who heard them: "hook:claude-code", "model:anthropic", "mcp:resources/read", "api", "import"
	Server       string   `json:"server,omitempty"` // over which it was heard, if it was heard over MCP itself
	Trust        Trust    `json:"trust"`            // whether the source can be believed that they are the words of that role
	Text         string   `json:"text,omitempty"`
	Size         int      `json:"size"`                   // bytes of the text as heard
	Digest       string   `json:"digest,omitempty"`       // equal for texts that were equal as heard, so that a turn heard twice is known
	Conversation string   `json:"conversation,omitempty"` // id of the conversation: a claim of the source
	ID           string   `json:"turn,omitempty"`         // id of the turn within it: a claim of the source
	Calls        []string `json:"calls,omitempty"`        // ids of tool calls that an assistant makes in it, or that a tool answers
	Uses         []Use    `json:"uses,omitempty"`         // the tool calls that an assistant makes in it, as far as more is known
	Repeats      uint64   `json:"repeats,omitempty"`      // Seq of a call whose result a tool claims to give: what is not in that is its own
	Trace        string   `json:"trace,omitempty"`        // id of the trace (W3C) that it is part of: a claim
	Peer
	Findings []Finding `json:"findings,omitempty"`
	Passages []Passage `json:"passages,omitempty"` // of Text
	// Lineage is what is kept of a text that is not, so that values can still be found in it: see lineage.Text.
	Lineage []byte `json:"lineage,omitempty"`
}

// Use is a tool call as a conversation announces it. The call itself comes over MCP.
type Use struct {
	ID     string `json:"id,omitempty"`     // of the tool call: also in Turn.Calls
	Item   string `json:"item,omitempty"`   // of the item of the model's answer that holds it
	Server string `json:"server,omitempty"` // empty if it is not known
	Tool   string `json:"tool,omitempty"`   // likewise
	Args   string `json:"args,omitempty"`   // hex SHA-256 of the arguments, as they are stored, in canonical form
}

// MCP begins the source of every Turn that was heard over MCP itself; what follows is the method: "mcp:resources/read".
const (
	MCP          = "mcp"
	ReadResource = "resources/read"
	GetPrompt    = "prompts/get"
)

// Role is whose words a Turn holds.
type Role string

// The roles. A turn of any other role counts as a tool's.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleSystem    Role = "system" // who runs the agent: its configuration
	RoleTool      Role = "tool"   // a result, or whatever else comes from outside of the conversation
)

// Trust says whether a Turn is what it claims to be. The zero Trust is Untrusted.
type Trust string

// The two.
const (
	Trusted   Trust = "trusted"
	Untrusted Trust = "untrusted" // somebody else can have written it, such as the server that asks for sampling
)

// Closed says that a client-server pair ended.
type Closed struct {
	Link   string `json:"link"`
	Server string `json:"server"`
	Reason string `json:"reason"`
}

// Kind implements Body.
func (*Opened) Kind() string { return "opened" }

// Kind implements Body.
func (*Loaded) Kind() string { return "loaded" }

// Kind implements Body.
func (*Catalog) Kind() string { return "catalog" }

// Kind implements Body.
func (*Accepted) Kind() string { return "accepted" }

// Kind implements Body.
func (*Promoted) Kind() string { return "promoted" }

// Kind implements Body.
func (*Call) Kind() string { return "call" }

// Kind implements Body.
func (*Exception) Kind() string { return "exception" }

// Kind implements Body.
func (*Revoked) Kind() string { return "revoked" }

// Kind implements Body.
func (*Verdict) Kind() string { return "verdict" }

// Kind implements Body.
func (*Review) Kind() string { return "review" }

// Kind implements Body.
func (*Expired) Kind() string { return "expired" }

// Kind implements Body.
func (*Result) Kind() string { return "result" }

// Kind implements Body.
func (*Signal) Kind() string { return "signal" }

// Kind implements Body.
func (*Turn) Kind() string { return "turn" }

// Kind implements Body.
func (*Closed) Kind() string { return "closed" }

func (*Opened) body()    {}
func (*Loaded) body()    {}
func (*Catalog) body()   {}
func (*Accepted) body()  {}
func (*Promoted) body()  {}
func (*Exception) body() {}
func (*Revoked) body()   {}
func (*Call) body()      {}
func (*Verdict) body()   {}
func (*Review) body()    {}
func (*Expired) body()   {}
func (*Result) body()    {}
func (*Signal) body()    {}
func (*Turn) body()      {}
func (*Closed) body()    {}
