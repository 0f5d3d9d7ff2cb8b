package rules

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/baseline"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// Read does ahead of Apply what takes long and depends on nothing but the body of an event: it reads what a result or a turn
// says, if a rule asks where values came from, and a baseline, and notes in the body which passages of it stand out. It can run beside
// anything. What it returns belongs into Event.Read; where that is missing, Apply does the same.
func (p *Policy) Read(body event.Body) any {
	if b, ok := body.(*event.Promoted); ok && p.habits {
		if read, err := baseline.Parse(b.Baseline); err == nil {
			return read
		}
		return nil
	}
	if !p.trails {
		return nil
	}
	return ReadText(body)
}

// ReadText is Read of what a result or a turn says, whether or not a rule asks for it: where the baseline in force does.
func ReadText(body event.Body) any {
	var t *lineage.Text
	switch b := body.(type) {
	case *event.Result:
		text := Texts(b)
		if t = reads(text, lineage.Untrusted); t != nil {
			b.Passages = passages(t, text, func(at int) string { return PathAt(b, at) })
		}
	case *event.Turn:
		class, ok := classOf(b)
		if !ok {
			return nil
		}
		if len(b.Lineage) > 0 {
			t = readDigest(b.Lineage, class)
			break
		}
		if t = reads(b.Text, class); t != nil {
			b.Passages = passages(t, b.Text, func(int) string { return "text" })
		}
	case *event.Opened, *event.Loaded, *event.Catalog, *event.Accepted, *event.Promoted, *event.Exception, *event.Revoked, *event.Call, *event.Verdict, *event.Review, *event.Expired, *event.Signal, *event.Closed:
	}
	if t == nil {
		return nil
	}
	return t
}

// Follows reports whether what is said is remembered, since a rule asks for it, or the baseline in force: only then somebody has to
// read it.
func (s *State) Follows() bool { return s.trails != nil }

// Forgets reports whether a result of so many bytes would not be remembered in a session: then nobody has to read it before.
func (s *State) Forgets(session string, size int, at event.Time) bool {
	if s.trails == nil {
		return true
	}
	t := s.trails.sessions[session]
	return t != nil && t.epoch == epochOf(at) && (t.size+size*3/4 > maxHeard || t.count >= maxTexts) // text is shorter than JSON
}

// Withheld returns what a turn keeps of its text where no text is to be kept, so that values can still be found in it; nil if
// nothing has to be, since no rule asks whether the text had them or since it is too long to be remembered. Base is a secret of
// the history.
func Withheld(b *event.Turn, text string, base uint64) []byte {
	class, ok := classOf(b)
	if !ok {
		return nil
	}
	t := reads(text, class)
	if t == nil {
		return nil
	}
	digest, err := t.Digest(base)
	if err != nil {
		panic("rules: " + err.Error()) // numbers can always be written
	}
	return digest
}

// reads reads a text, unless there is nothing in it or more than is ever remembered.
func reads(text string, class lineage.Class) *lineage.Text {
	if text == "" || len(text) > maxHeard {
		return nil
	}
	return lineage.Read(text, class)
}

// readDigest reads what stands in the place of a text of a class; nil if that cannot be read.
func readDigest(data []byte, class lineage.Class) *lineage.Text {
	t, err := lineage.ReadDigest(data)
	if err != nil || t.Said() != said(class) {
		return nil
	}
	return t
}

// said reports whether texts of a class are compared letter by letter.
func said(class lineage.Class) bool { return class&(lineage.User|lineage.System) != 0 }

// classOf says from whom the words of a turn come, as far as the turn says it; ok is false if they are the model's: its own, or
// those of what it has read.
func classOf(b *event.Turn) (class lineage.Class, ok bool) {
	overMCP := strings.HasPrefix(b.Source, event.MCP+":")
	switch {
	case b.Role == event.RoleAssistant && (!overMCP || b.Trust == event.Trusted):
		return 0, false
	case b.Trust != event.Trusted:
	case b.Role == event.RoleUser:
		return lineage.User, true
	case b.Role == event.RoleSystem:
		return lineage.System, true
	}
	return lineage.Untrusted, true
}

// passages returns the passages of a text that stand out. If there are too many to be noted, those that talk to the assistant
// or are hidden go first.
func passages(t *lineage.Text, text string, path func(at int) string) (out []event.Passage) {
	list := t.Passages()
	room := event.MaxPassages
	for _, p := range list {
		if p.Strong() {
			room--
		}
	}
	for _, p := range list {
		if len(out) == event.MaxPassages {
			break
		}
		if !p.Strong() {
			if room--; room < 0 {
				continue
			}
		}
		out = append(out, event.Passage{Kind: p.Why, Path: path(p.From), Text: event.Clip(strings.TrimSpace(text[p.From:p.To])), Size: p.To - p.From})
	}
	return out
}

// Texts returns the texts and numbers of a result, one a line: what rules see of it that ask where values came from. Images and
// sounds have none.
func Texts(b *event.Result) string {
	var out strings.Builder
	eachText(b, func(_ []string, text string) bool {
		out.WriteString(text)
		return true
	})
	return out.String()
}

// PathAt returns the path of what is at a place of Texts: "result.content.0.text".
func PathAt(b *event.Result, at int) (path string) {
	eachText(b, func(of []string, text string) bool {
		path = strings.Join(of, ".")
		at -= len(text)
		return at >= 0
	})
	return path
}

// eachText yields the texts and numbers of a result, each but the first behind a line break, and where it stands.
func eachText(b *event.Result, yield func(path []string, text string) bool) {
	if !yield([]string{"text"}, b.Text) || len(b.Content) == 0 {
		return
	}
	path := append(make([]string, 0, 8), "result")
	var walk func(v gjson.Result) bool
	member := func(name string, v gjson.Result) bool {
		path = append(path, name)
		defer func() { path = path[:len(path)-1] }()
		return walk(v)
	}
	walk = func(v gjson.Result) (more bool) {
		more = true
		switch {
		case v.IsObject():
			if kind := v.Get("type").Str; kind == "image" || kind == "audio" {
				return true
			}
			v.ForEach(func(key, value gjson.Result) bool {
				switch key.Str {
				case "type", "mimeType", "isError", "_meta", "annotations":
					return true
				case "content", "text", "structuredContent":
				default:
					if more = yield(path, "\n") && yield(path, key.Str); !more {
						return false
					}
				}
				more = member(key.Str, value)
				return more
			})
		case v.IsArray():
			i := 0
			v.ForEach(func(_, value gjson.Result) bool {
				more = member(strconv.Itoa(i), value)
				i++
				return more
			})
		case v.Type == gjson.String || v.Type == gjson.Number:
			return yield(path, "\n") && yield(path, v.String())
		}
		return more
	}
	walk(gjson.ParseBytes(b.Content))
}
