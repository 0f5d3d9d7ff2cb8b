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
	calls  []string // ids
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
	m.Get("tool_calls").ForEach(func(_, call gjson.Result) bool {
		if id := call.Get("id").Str; id != "" && !slices.Contains(c.calls, id) && len(c.calls) < maxBlocks {
			c.calls = append(c.calls, strings.Clone(id))
		}
		return true
	})
}

// done returns what was said, with the calls if they are complete.
func (c *choice) done(whole bool) []Piece {
	if whole {
		for _, id := range c.calls {
			c.speech.call(id, nil)
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
		s.call(cmp.Or(call, v.Get("id").Str), nil)
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output", "apply_patch_call_output":
		return []Piece{given(cmp.Or(call, v.Get("id").Str), joined(v.Get("output")))}
	case "mcp_call": // made where the model is
		id := v.Get("id").Str
		s.call(id, &Seen{Kind: kind, Server: v.Get("server_label").Str, Tool: v.Get("name").Str, Args: v.Get("arguments").Str})
		if output := v.Get("output"); output.Type == gjson.String {
			return append(s.take(), given(id, output.Str))
		}
	}
	s.end()
	return s.take()
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
