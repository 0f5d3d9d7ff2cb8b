package proxy

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// question is what a server asks a client's model or its user.
type question struct {
	method string
	words  string // all that the server says in it
	// doubtful says that it is not known what the server said: nothing that answers it is the user's own.
	doubtful bool
	at       time.Time
}

// questions are those that are not answered. What finds no room is forgotten, so that what answers it is nobody's words.
type questions struct {
	mu   sync.Mutex
	open map[string]*question
	size int // of their words
}

// The bounds of questions.
const (
	maxQuestions = 256
	maxAsked     = 1 << 20   // bytes of all of them
	maxQuestion  = 128 << 10 // of one: of a longer one, it is not known what it says
	questionFor  = time.Hour // it may be answered, where there is not room for all
	maxFields    = 1000      // of a form: no user fills in more
)

// ask remembers a question. Two of one name can be answered in either's place: what answers them is not the user's own.
func (q *questions) ask(key, method string, params gjson.Result) {
	asked := &question{method: method, at: time.Now()}
	if method == askUser {
		asked.words = everything(params)
	}
	if len(asked.words) > maxQuestion {
		asked.words, asked.doubtful = "", true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if before := q.open[key]; before != nil {
		before.method, before.doubtful = method, true
		return
	}
	full := func() bool { return len(q.open) >= maxQuestions || q.size+len(asked.words) > maxAsked }
	if full() {
		maps.DeleteFunc(q.open, func(_ string, old *question) bool {
			late := asked.at.Sub(old.at) > questionFor
			if late {
				q.size -= len(old.words)
			}
			return late
		})
	}
	if full() {
		return
	}
	if q.open == nil {
		q.open = map[string]*question{}
	}
	q.open[strings.Clone(key)] = asked
	q.size += len(asked.words)
}

// take returns the question that is answered, once; nil if it is not known.
func (q *questions) take(key string) *question {
	q.mu.Lock()
	defer q.mu.Unlock()
	asked := q.open[key]
	if asked == nil {
		return nil
	}
	q.size -= len(asked.words)
	if delete(q.open, key); len(q.open) == 0 {
		q.open = nil
	}
	return asked
}

// answer returns what is said in an answer. A model's are its own words. Of what a user has put into a form, his own is what
// the server has not said before: not a default or a choice that he accepts, nothing that the server has shown him to type,
// and no name of a field.
func (q *question) answer(result gjson.Result) []Said {
	if q.method == askModel {
		return []Said{{Method: askModel, Role: event.RoleAssistant, Trust: event.Trusted, Text: wire.Words(result.Get("content"))}}
	}
	if result.Get("action").Str != "accept" {
		return nil
	}
	var server lineage.Memory
	if !server.Add(lineage.Source{Class: lineage.Untrusted}, lineage.Read(q.words, lineage.Untrusted)) {
		q.doubtful = true
	}
	var own, given []string
	eachText(result.Get("content"), func(text string) {
		if len(own)+len(given) >= maxFields {
			q.doubtful = true
		}
		if !q.doubtful {
			if o := server.Trace([]string{text}, nil); o.Model && !o.Outside() { // a single letter is nobody's
				own = append(own, text)
				return
			}
		}
		given = append(given, text)
	})
	return []Said{
		{Method: askUser, Role: event.RoleUser, Trust: event.Trusted, Text: strings.Join(own, "\n")},
		{Method: askUser, Role: event.RoleUser, Trust: event.Untrusted, Text: strings.Join(given, "\n")},
	}
}

// formWords are the specification's own words in a question to a user, of which MCP 2025-11-25 and 2026-07-28 have no
// others. A server says nothing by them.
var formWords = func() map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(`message mode form url elicitationId requestedSchema _meta
		type object properties required string number integer boolean array items enum enumNames const oneOf anyOf
		title description default format email uri date date-time pattern $schema
		minimum maximum minLength maxLength minItems maxItems`) {
		words[w] = true
	}
	return words
}()

// everything returns all that a server says in v, the names of members among it: what it can show in one way or another.
func everything(v gjson.Result) string {
	var out strings.Builder
	add := func(text string) {
		if !formWords[text] {
			out.WriteString(text + "\n")
		}
	}
	var walk func(v gjson.Result)
	walk = func(v gjson.Result) {
		if !v.IsObject() && !v.IsArray() {
			eachText(v, add)
			return
		}
		v.ForEach(func(key, member gjson.Result) bool {
			if v.IsObject() {
				add(key.Str)
			}
			walk(member)
			return true
		})
	}
	walk(v)
	return out.String()
}

// eachText calls f with every text and number in v, and not with names.
func eachText(v gjson.Result, f func(text string)) {
	switch {
	case v.IsObject() || v.IsArray():
		v.ForEach(func(_, member gjson.Result) bool {
			eachText(member, f)
			return true
		})
	case v.Type == gjson.String || v.Type == gjson.Number:
		f(v.String())
	}
}
