package conversation

import (
	"strings"

	"github.com/tidwall/gjson"
)

// anthropic is POST /v1/messages.
type anthropic struct {
	speech speech
	blocks map[int64]*block // that are being streamed, by index
}

// block is a block of content.
type block struct {
	gjson.Result
	text, args strings.Builder // what came after its start
}

// maxBlocks is how many blocks one answer can have in progress.
const maxBlocks = 1024

func (a *anthropic) asked(request gjson.Result) (out []Piece) {
	request.Get("system").ForEach(func(_, b gjson.Result) bool {
		out = append(out, input("system", joined(b))...)
		return true
	})
	request.Get("messages").ForEach(func(_, m gjson.Result) bool {
		role, content := m.Get("role").Str, m.Get("content")
		if role == "assistant" {
			out = append(out, a.answered(m)...)
			return true
		}
		if content.Type == gjson.String {
			out = append(out, input(role, content.Str)...)
			return true
		}
		content.ForEach(func(_, b gjson.Result) bool {
			switch kind := b.Get("type").Str; {
			case kind == "text":
				out = append(out, input(role, b.Get("text").Str)...)
			case strings.HasSuffix(kind, "tool_result"):
				out = append(out, given(b.Get("tool_use_id").Str, joined(b.Get("content"))))
			case kind == "document" || kind == "search_result": // the user gives it, and has not written it
				if text := joined(b); text != "" {
					out = append(out, given("", text))
				}
			}
			return true
		})
		return true
	})
	return out
}

func (a *anthropic) answered(answer gjson.Result) []Piece {
	a.speech.join = "\n"
	content := answer.Get("content")
	if content.Type == gjson.String {
		a.speech.say(content.Str)
	}
	content.ForEach(func(_, b gjson.Result) bool {
		if b.IsObject() {
			a.block(&block{Result: b})
		}
		return true
	})
	a.speech.end()
	return a.speech.take()
}

// block takes in a block of what the model says.
func (a *anthropic) block(b *block) {
	args := b.args.String()
	if args == "" {
		args = b.Get("input").Raw
	}
	switch kind := b.Get("type").Str; {
	case kind == "text":
		a.speech.say(b.Get("text").Str + b.text.String())
	case kind == "tool_use":
		a.speech.call(b.Get("id").Str, &Use{Tool: b.Get("name").Str, Args: args})
	case kind == "mcp_tool_use" || kind == "server_tool_use": // made where the model is
		a.speech.call(b.Get("id").Str, &Use{Made: true, Kind: kind, Server: b.Get("server_name").Str, Tool: b.Get("name").Str, Args: args})
	case strings.HasSuffix(kind, "_tool_result"):
		a.speech.end()
		p := given(b.Get("tool_use_id").Str, joined(b.Get("content")))
		p.Failed = b.Get("is_error").Bool() || strings.HasSuffix(b.Get("content.type").Str, "_error")
		a.speech.out = append(a.speech.out, p)
	}
}

func (a *anthropic) event(data gjson.Result) []Piece {
	a.speech.join = "\n"
	index := data.Get("index").Int()
	switch data.Get("type").Str {
	case "content_block_start":
		if len(a.blocks) < maxBlocks {
			a.blocks[index] = &block{Result: data.Get("content_block")}
		}
	case "content_block_delta":
		if b := a.blocks[index]; b != nil {
			b.text.WriteString(data.Get("delta.text").Str)
			b.args.WriteString(data.Get("delta.partial_json").Str)
		}
	case "content_block_stop":
		if b := a.blocks[index]; b != nil {
			delete(a.blocks, index)
			a.block(b)
		}
	case "message_stop":
		a.speech.end()
	}
	return a.speech.take()
}

func (a *anthropic) rest(bool) []Piece {
	for _, index := range sorted(a.blocks) {
		if b := a.blocks[index]; b.Get("type").Str == "text" {
			a.block(b)
		}
	}
	a.speech.end()
	return a.speech.take()
}
