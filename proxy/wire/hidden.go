package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// maxDoubts is how many places of one definition are named in which there are hidden characters.
const maxDoubts = 8

// search looks for hidden characters in the texts of a definition, and for texts that give orders.
type search struct {
	path     []string
	found    []event.Doubt
	passages []event.Passage
}

// value looks at every text in v, and at the names of members.
func (s *search) value(v gjson.Result) {
	switch {
	case v.Type == gjson.String:
		s.text(v.Str)
	case v.IsArray():
		for i, e := range v.Array() {
			s.member(strconv.Itoa(i), e)
		}
	case v.IsObject():
		v.ForEach(func(k, e gjson.Result) bool {
			s.member(k.Str, e)
			return true
		})
	}
}

func (s *search) member(name string, v gjson.Result) {
	s.path = append(s.path, name)
	s.text(name)
	s.value(v)
	s.path = s.path[:len(s.path)-1]
}

func (s *search) text(text string) {
	if what := hidden(text); what != "" && len(s.found) < maxDoubts {
		s.found = append(s.found, event.Doubt{Kind: event.Hidden, Path: strings.Join(s.path, "."), Text: what})
	}
	if len(s.passages) < event.MaxPassages {
		if why := lineage.Described(text); why != "" {
			s.passages = append(s.passages, event.Passage{Kind: why, Path: strings.Join(s.path, "."), Text: event.Clip(text), Size: len(text)})
		}
	}
}

// hidden lists the characters of s that a reader does not see, or that show s in another order: "U+202E, 3 × U+200B". It
// is empty if there are none. What emoji and scripts such as Arabic need to be written is not among them.
func hidden(s string) string {
	if seen(s) {
		return ""
	}
	var order []rune
	count := map[rune]int{}
	var tags strings.Builder
	text := []rune(s)
	for i, r := range text {
		var before, after rune
		if i > 0 {
			before = text[i-1]
		}
		if i+1 < len(text) {
			after = text[i+1]
		}
		switch {
		case !conceals(before, r, after):
			continue
		case r >= 0xe0000 && r < 0xe0080:
			tags.WriteRune(max(r-0xe0000, ' '))
			continue
		case count[r] == 0:
			order = append(order, r)
		}
		count[r]++
	}
	slices.Sort(order)
	const most = 5
	var parts []string
	if tags.Len() > 0 {
		parts = append(parts, fmt.Sprintf("%d tag characters that spell %s", tags.Len(), strconv.QuoteToASCII(clip(tags.String()))))
	}
	for i, r := range order {
		switch {
		case i == most:
			parts = append(parts, fmt.Sprintf("%d more", len(order)-most))
		case i > most:
		case count[r] > 1:
			parts = append(parts, fmt.Sprintf("%d × U+%04X", count[r], r))
		default:
			parts = append(parts, fmt.Sprintf("U+%04X", r))
		}
	}
	return strings.Join(parts, ", ")
}

// seen reports whether s is ASCII that can be seen.
func seen(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x7f || c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// conceals reports whether r, between the characters before and after it, is there without being seen.
func conceals(before, r, after rune) bool {
	switch {
	case r == 0xfe0e || r == 0xfe0f: // as text or as emoji
		return !unicode.In(before, unicode.So, unicode.Sm, unicode.Po, unicode.Nd)
	case r == 0x200d && unicode.In(before, unicode.So, unicode.Sk, unicode.Variation_Selector) && unicode.Is(unicode.So, after): // of one emoji
		return false
	case r == 0x200c || r == 0x200d:
		return !unicode.In(before, joining...) || !unicode.In(after, joining...)
	case unicode.Is(unicode.Variation_Selector, r):
		return !unicode.Is(unicode.Han, before)
	}
	return unseen(r)
}

// joining are scripts that are written with U+200C and U+200D.
var joining = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya,
	unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Mongolian, unicode.Khmer,
}

// unseen reports whether r by itself is not seen: controls, marks of direction, zero-width characters, tags, fillers,
// separators of lines, and what has no form of its own.
func unseen(r rune) bool {
	switch r {
	case '\n', '\t', '\r':
		return false
	case 0x2800: // a pattern of Braille without dots
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}
