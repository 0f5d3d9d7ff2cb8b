package wire

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/umpire-dev/umpire/rules/lookalike"
)

// skeleton returns a text that is equal for names that look alike: "reаd_file" with a Cyrillic а, "read\u200b_file" and
// "read_file" have one. It is empty if that is the name itself.
func skeleton(name string) string {
	mapped := strings.Map(func(r rune) rune {
		switch ascii, ok := lookalike.Of(r); {
		case ok:
			return ascii
		case unseen(r), unicode.IsSpace(r), unicode.Is(unicode.Variation_Selector, r):
			return -1
		}
		return r
	}, norm.NFKC.String(name))
	mapped = strings.ReplaceAll(mapped, "rn", "m")
	if mapped == name {
		return ""
	}
	return mapped
}
