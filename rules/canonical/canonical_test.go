package canonical_test

import (
	"testing"

	"github.com/umpire-dev/umpire/rules/canonical"
)

// Values that are equal have one digest, and values that are not have others, however alike they look.
func TestEqualValuesHaveOneDigest(t *testing.T) {
	seen := map[string]string{}
	for _, equal := range [][]string{
		{`{"a":1,"b":"x"}`, ` { "b" : "\u0078", "a" : 1.0 } `, `{"b":"x","a":10e-1}`, `{"a":0.1E+1,"b":"x"}`},
		{`{"a":"1","b":"x"}`},
		{`{"A":1,"b":"x"}`},
		{`{"a":1,"b":"X"}`},
		{`{"a":1}`},
		{`{"a":1,"b":null}`},
		{`{"a":1,"b":["x"]}`},
		{`0`, `-0`, `0.0`, `0e7`, `-0.00E-3`},
		{`9007199254740993`}, // RFC 8785 takes it for the next one
		{`9007199254740992`, `9007199254740992.0`},
		{`1e400`, `10e399`},
		{`1e401`},
		{`0.1`, `1e-1`, `0.10`},
		{`0.1000000000000000055511151231257827`}, // and this for 0.1
		{`"é"`, `"\u00e9"`},
		{`"e\u0301"`}, // looks the same
		{`"<&>"`, `"\u003c&>"`},
		{`true`},
		{`"true"`},
		{`null`},
		{`"null"`},
		{`[]`},
		{`{}`},
		{`[null]`},
		{`""`},
	} {
		want := canonical.Digest([]byte(equal[0]))
		if other, ok := seen[want]; ok {
			t.Errorf("%s has the digest of %s", equal[0], other)
		}
		seen[want] = equal[0]
		for _, text := range equal[1:] {
			if canonical.Digest([]byte(text)) != want {
				t.Errorf("%s has not the digest of %s", text, equal[0])
			}
		}
	}
}
