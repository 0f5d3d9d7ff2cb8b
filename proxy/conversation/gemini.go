package conversation

import (
	"strings"

	"github.com/tidwall/gjson"
)

// gemini is POST …:generateContent and …:streamGenerateContent.
type gemini struct {
	speech speech
}

func (g *gemini) asked(request gjson.Result) (out []Piece) {
	for _, name := range []string{"systemInstruction", "system_instruction"} {
		request.Get(name + ".parts").ForEach(func(_, p gjson.Result) bool {
			out = append(out, input("system", p.Get("text").Str)...)
			return true
		})
	}
	request.Get("contents").ForEach(func(_, c gjson.Result) bool {
		role := c.Get("role").Str
		if role == "model" {
			g.parts(c)
			g.speech.end()
			out = append(out, g.speech.take()...)
			return true
		}
		if role == "" {
			role = "user"
		}
		quoted := false // parts that follow a mark are quoted, too
		c.Get("parts").ForEach(func(_, p gjson.Result) bool {
			text := p.Get("text").Str
			if r := either(p, "functionResponse", "function_response"); r.Exists() {
				out = append(out, given(r.Get("id").Str, response(r.Get("response"))))
			} else if quoted && text != "" {
				out = append(out, byOthers(text))
			} else {
				quoted = role == "user" && strings.Contains(text, referenced)
				out = append(out, input(role, text)...)
			}
			return true
		})
		return true
	})
	return out
}

// parts takes in what a model says. Its thoughts are left out, as they are where other models have them.
func (g *gemini) parts(content gjson.Result) {
	content.Get("parts").ForEach(func(_, p gjson.Result) bool {
		if p.Get("thought").Bool() {
			return true
		}
		g.speech.say(p.Get("text").Str)
		if call := either(p, "functionCall", "function_call"); call.Exists() {
			g.speech.call(call.Get("id").Str, &Use{Tool: call.Get("name").Str, Args: call.Get("args").Raw})
		}
		return true
	})
}

func (g *gemini) answered(answer gjson.Result) (out []Piece) {
	if answer.IsArray() { // a stream that is not asked for as server-sent events
		answer.ForEach(func(_, chunk gjson.Result) bool {
			out = append(out, g.event(chunk)...)
			return true
		})
	} else {
		out = g.event(answer)
	}
	return append(out, g.rest(true)...)
}

func (g *gemini) event(data gjson.Result) []Piece {
	candidate := data.Get("candidates.0")
	if g.parts(candidate.Get("content")); candidate.Get("finishReason").Str != "" {
		g.speech.end()
	}
	return g.speech.take()
}

func (g *gemini) rest(bool) []Piece {
	g.speech.end()
	return g.speech.take()
}

// response returns what a function has given: a text where it is one, else JSON.
func response(r gjson.Result) string {
	for _, name := range []string{"output", "result", "content", "error"} {
		if text := joined(r.Get(name)); text != "" {
			return text
		}
	}
	return r.Raw
}

func either(v gjson.Result, names ...string) (out gjson.Result) {
	for _, name := range names {
		if out = v.Get(name); out.Exists() {
			break
		}
	}
	return out
}
