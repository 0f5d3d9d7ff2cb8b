package reissue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/match"

	"github.com/umpire-dev/umpire/proxy/wire"
	"github.com/umpire-dev/umpire/rules/event"
)

// Difference is a value that another server gives otherwise.
type Difference struct {
	Path string `json:"path"` // "content.0.text", and behind it what is in a text that is JSON: "content.0.text.total"
	Was  string `json:"was"`  // as JSON; empty if it was not there
	Is   string `json:"is"`
}

// MaxDifferences bounds what Compare returns.
const MaxDifferences = 20

// Compare says what an answer has otherwise than a recorded result. It compares values and not how they are written: neither
// spaces, nor the order of members, nor the spelling of numbers, nor of a text that is a JSON object or list. Values that are
// redacted or cut in the history cannot be compared, and hidden is how many of them there are; what matches one of ignore is not
// compared either. Protocol members (_meta, resultType) make no difference.
func Compare(recorded *event.Result, now Answer, ignore []string) (found []Difference, hidden int) {
	d := comparison{ignore: ignore}
	for _, f := range recorded.Findings {
		if path, ok := strings.CutPrefix(f.Path, "result."); ok {
			d.masked = append(d.masked, path)
		}
	}
	if recorded.Outcome != now.Outcome {
		d.note("outcome", quoted(string(recorded.Outcome)), quoted(string(now.Outcome)))
		return d.found, 0
	}
	if recorded.Outcome == event.OutcomeError {
		if recorded.Code != now.Code {
			d.note("code", strconv.FormatInt(recorded.Code, 10), strconv.FormatInt(now.Code, 10))
		}
		return d.found, 0
	}
	d.value("", shown(recorded.Content), shown(now.Result))
	return d.found, d.hidden
}

// shown returns of a result what its server says to a client.
func shown(raw json.RawMessage) gjson.Result {
	members := map[string]json.RawMessage{}
	gjson.ParseBytes(raw).ForEach(func(k, v gjson.Result) bool {
		switch k.Str {
		case "_meta", "resultType":
		case "isError":
			if v.Bool() {
				members[k.Str] = json.RawMessage(v.Raw)
			}
		default:
			members[k.Str] = json.RawMessage(v.Raw)
		}
		return true
	})
	text, err := json.Marshal(members)
	if err != nil {
		return gjson.ParseBytes(raw)
	}
	return gjson.ParseBytes(text)
}

// comparison collects differences.
type comparison struct {
	ignore, masked []string
	found          []Difference
	hidden         int
}

func (d *comparison) note(path, was, is string) {
	if len(d.found) < MaxDifferences {
		d.found = append(d.found, Difference{Path: path, Was: was, Is: is})
	}
}

func (d *comparison) value(path string, was, is gjson.Result) {
	switch {
	case slices.ContainsFunc(d.ignore, func(p string) bool { return match.Match(path, p) }):
		return
	case slices.Contains(d.masked, path):
		d.hidden++
		return
	}
	if was.Type == gjson.String && is.Type == gjson.String && was.Str != is.Str && embedded(was.Str) && embedded(is.Str) {
		was, is = gjson.Parse(was.Str), gjson.Parse(is.Str)
	}
	switch {
	case was.IsObject() && is.IsObject():
		a, b := was.Map(), is.Map()
		names := make([]string, 0, len(a)+len(b))
		for name := range a {
			names = append(names, name)
		}
		for name := range b {
			if _, ok := a[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			d.value(strings.TrimPrefix(path+"."+name, "."), a[name], b[name])
		}
	case was.IsArray() && is.IsArray():
		a, b := was.Array(), is.Array()
		for i := range max(len(a), len(b)) {
			d.value(strings.TrimPrefix(path+"."+strconv.Itoa(i), "."), at(a, i), at(b, i))
		}
	case string(wire.CanonicalArgs([]byte(was.Raw))) != string(wire.CanonicalArgs([]byte(is.Raw))):
		d.note(path, was.Raw, is.Raw)
	}
}

// embedded reports whether a text is a JSON object or list.
func embedded(text string) bool {
	v := gjson.Parse(text)
	return (v.IsObject() || v.IsArray()) && gjson.Valid(text)
}

func at(list []gjson.Result, i int) gjson.Result {
	if i < len(list) {
		return list[i]
	}
	return gjson.Result{}
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }
