package conversation

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// chat is POST /v1/chat/completions.
type chat struct {
	choices map[int64]*choice // that are being streamed, by index
}

// choice is one of the answers to a request.
type choice struct {
	speech speech
	calls  []*called
}

// called is a call that a choice makes.
type called struct {
	at       int64 // its place, as a stream numbers them
	id, name string
	args     strings.Builder
}

func (c *chat) asked(request gjson.Result) (out []Piece) {
	request.Get("messages").ForEach(func(_, m gjson.Result) bool {
		switch role := m.Get("role").Str; role {
		case "assistant":
			var s choice
			s.message(m)
			out = append(out, s.done(true)...)
		case "tool", "function":
			out = append(out, given(m.Get("tool_call_id").Str, joined(m.Get("content"))))
		default:
			for _, text := range texts(m.Get("content")) {
				out = append(out, input(role, text)...)
			}
		}
		return true
	})
	return out
}

func (c *chat) answered(answer gjson.Result) (out []Piece) {
	answer.Get("choices").ForEach(func(_, v gjson.Result) bool {
		var s choice
		s.message(v.Get("message"))
		out = append(out, s.done(true)...)
		return true
	})
	return out
}

// message takes in a message of the assistant, or what a stream adds to one.
func (c *choice) message(m gjson.Result) {
	c.speech.say(joined(m.Get("content")))
	c.speech.say(m.Get("refusal").Str)
	m.Get("tool_calls").ForEach(func(at, call gjson.Result) bool {
		if v := call.Get("index"); v.Exists() { // of a stream
			at = v
		}
		c.call(at.Int(), call)
		return true
	})
}

// call takes in what is said of the call at a place. Another id is another call, whatever its place.
func (c *choice) call(at int64, v gjson.Result) {
	id := v.Get("id").Str
	i := len(c.calls) - 1
	for i >= 0 && (id == "" && c.calls[i].at != at || id != "" && c.calls[i].id != id) {
		i--
	}
	if i < 0 {
		if i = len(c.calls); i == maxBlocks {
			return
		}
		c.calls = append(c.calls, &called{at: at})
	}
	k := c.calls[i]
	k.id = strings.Clone(cmp.Or(id, k.id))
	for _, kind := range [...]struct{ name, args string }{{"function.name", "function.arguments"}, {"custom.name", "custom.input"}} {
		k.name = strings.Clone(cmp.Or(k.name, v.Get(kind.name).Str))
		k.args.WriteString(v.Get(kind.args).Str)
	}
}

// done returns what was said, with the calls if they are complete.
func (c *choice) done(whole bool) []Piece {
	if whole {
		for _, k := range c.calls {
			c.speech.call(k.id, &Use{Tool: k.name, Args: k.args.String()})
		}
	}
	c.calls = nil
	c.speech.end()
	return c.speech.take()
}

func (c *chat) event(data gjson.Result) (out []Piece) {
	data.Get("choices").ForEach(func(_, v gjson.Result) bool {
		index := v.Get("index").Int()
		s := c.choices[index]
		if s == nil && len(c.choices) < maxBlocks {
			s = &choice{}
			c.choices[index] = s
		}
		if s != nil {
			if s.message(v.Get("delta")); v.Get("finish_reason").Str != "" {
				out = append(out, s.done(true)...)
			}
		}
		return true
	})
	return out
}

func (c *chat) rest(whole bool) (out []Piece) {
	for _, index := range sorted(c.choices) {
		out = append(out, c.choices[index].done(whole)...)
	}
	return out
}

// responses is POST /v1/responses.
type responses struct {
	told  map[int64]bool             // items of the answer that were complete, by index
	texts map[int64]*strings.Builder // what is being streamed
}

func (r *responses) asked(request gjson.Result) (out []Piece) {
	out = input("system", joined(request.Get("instructions")))
	in := request.Get("input")
	if in.Type == gjson.String {
		return append(out, input("user", in.Str)...)
	}
	in.ForEach(func(_, v gjson.Result) bool {
		out = append(out, item(v)...)
		return true
	})
	return out
}

// item returns what an item of a request or of an answer says.
func item(v gjson.Result) (out []Piece) {
	var s speech
	call := v.Get("call_id").Str
	switch kind := v.Get("type").Str; kind {
	case "message", "":
		role := v.Get("role").Str
		if role == "assistant" {
			s.say(joined(v.Get("content")))
			break
		}
		for _, text := range texts(v.Get("content")) {
			out = append(out, input(role, text)...)
		}
		return out
	case "function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call":
		s.call(cmp.Or(call, v.Get("id").Str), &Use{
			Space: v.Get("namespace").Str, Tool: v.Get("name").Str, Item: v.Get("id").Str, Args: cmp.Or(v.Get("arguments").Str, v.Get("input").Str),
		})
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output", "apply_patch_call_output":
		return []Piece{given(cmp.Or(call, v.Get("id").Str), joined(v.Get("output")))}
	case "mcp_call", "web_search_call", "file_search_call", "code_interpreter_call": // made where the model is
		return hosted(v)
	case "mcp_list_tools": // what a server says of its tools, and the model reads
		s.join = "\n"
		v.Get("tools").ForEach(func(_, tool gjson.Result) bool {
			s.say(tool.Get("name").Str + ": " + tool.Get("description").Str)
			return true
		})
		if s.text.Len() > 0 {
			return []Piece{given("", s.text.String())}
		}
	case "mcp_approval_request": // a call that is not made yet
		s.call(v.Get("id").Str, &Use{Item: v.Get("id").Str})
	case "mcp_approval_response":
		text := "The call is not approved."
		if v.Get("approve").Bool() {
			text = "The call is approved."
		}
		p := given(v.Get("approval_request_id").Str, strings.TrimSpace(text+" "+v.Get("reason").Str))
		return []Piece{p}
	}
	s.end()
	return s.take()
}

// hosted returns what an item says of a call that the API makes by itself, and of what it gave.
func hosted(v gjson.Result) []Piece {
	var s speech
	kind, id := v.Get("type").Str, v.Get("id").Str
	use := &Use{Made: true, Kind: kind, Server: v.Get("server_label").Str, Tool: v.Get("name").Str, Item: id, Args: v.Get("arguments").Str}
	if kind != "mcp_call" {
		use.Tool, use.Args = strings.TrimSuffix(kind, "_call"), v.Get("action").Raw
		for _, name := range []string{"queries", "code"} {
			if asked := v.Get(name); asked.Exists() {
				use.Args = `{"` + name + `":` + asked.Raw + `}`
			}
		}
	}
	s.call(id, use)
	output, problem := v.Get("output"), v.Get("error")
	p := given(id, output.Str)
	switch {
	case problem.Exists() && problem.Type != gjson.Null:
		p.Failed, p.Text = true, cmp.Or(joined(problem), problem.Raw)
	case output.Type == gjson.String || v.Get("status").Str == "completed":
	case v.Get("status").Str == "failed":
		p.Failed = true
	default:
		return s.take()
	}
	return append(s.take(), p)
}

func (r *responses) answered(answer gjson.Result) (out []Piece) {
	answer.Get("output").ForEach(func(index, v gjson.Result) bool {
		if !r.told[index.Int()] {
			out = append(out, item(v)...)
		}
		return true
	})
	return out
}

func (r *responses) event(data gjson.Result) (out []Piece) {
	index := data.Get("output_index").Int()
	switch data.Get("type").Str {
	case "response.output_text.delta", "response.refusal.delta":
		if r.texts[index] == nil && len(r.texts) < maxBlocks {
			r.texts[index] = &strings.Builder{}
		}
		if b := r.texts[index]; b != nil && !r.told[index] {
			b.WriteString(data.Get("delta").Str)
		}
	case "response.output_item.done":
		if delete(r.texts, index); !r.told[index] && len(r.told) < maxBlocks {
			r.told[index] = true
			out = item(data.Get("item"))
		}
	case "response.completed", "response.incomplete", "response.failed":
		out = r.answered(data.Get("response"))
		clear(r.texts)
	}
	return out
}

func (r *responses) rest(bool) []Piece {
	var s speech
	for _, index := range sorted(r.texts) {
		s.say(r.texts[index].String())
		s.end()
	}
	return s.take()
}

func sorted[V any](m map[int64]V) []int64 { return slices.Sorted(maps.Keys(m)) }
