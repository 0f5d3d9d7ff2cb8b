package lineage

import (
	"strconv"
	"strings"
)

var months = func() map[string]int {
	out := map[string]int{}
	for i, names := range strings.Split("january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sep sept|october oct|november nov|december dec", "|") {
		for _, name := range strings.Fields(names) {
			out[name] = i + 1
		}
	}
	return out
}()

// dates writes the dates in a text in one way, as a text of its own: "May 1st, 2024", "from the 1st to the 5th of May" and
// "2024-05-01" have a word in common. The year is left out, since people leave it out; each date is written once.
func dates(f *folded) string {
	var out []byte
	var found [13][32]bool
	add := func(month, day int) {
		if month >= 1 && month <= 12 && day >= 1 && day <= 31 && !found[month][day] {
			found[month][day] = true
			out = append(out, "date"...)
			out = strconv.AppendInt(out, int64(100*month+day), 10)
			out = append(out, ' ')
		}
	}
	word := func(i int) string {
		if i < 0 || i >= len(f.words) {
			return ""
		}
		return string(f.word(i))
	}
	for i := range f.words {
		w := f.word(i)
		if month := months[string(w)]; month > 0 {
			add(month, day(word(i+1))) // May 1st
			if next := word(i + 2); next == "to" || next == "and" || next == "until" || next == "through" || next == "till" {
				j := i + 3
				if word(j) == "the" {
					j++
				}
				add(month, day(word(j))) // May 1st to 5th
			}
			j := i - 1
			if word(j) == "of" {
				j--
			}
			if add(month, day(word(j))); day(word(j)) > 0 { // the 5th of May; from the 1st to the 5th of May
				if j--; word(j) == "the" {
					j--
				}
				if before := word(j); before == "to" || before == "and" || before == "until" || before == "through" || before == "till" {
					add(month, day(word(j-1)))
				}
			}
			continue
		}
		if len(w) == 4 && (w[0] == '1' || w[0] == '2') && len(word(i+1)) == 2 && len(word(i+2)) >= 2 { // 2024-05-01
			year, err := strconv.Atoi(string(w))
			month, err2 := strconv.Atoi(word(i + 1))
			if err == nil && err2 == nil && year >= 1900 && year < 2200 {
				add(month, day(word(i+2)))
			}
		}
	}
	return string(out)
}

// day returns the day of a month that a word names, as "1", "1st" or "01t10"; 0 if none.
func day(w string) int {
	n, digits := 0, 0
	for digits < len(w) && digits < 3 && '0' <= w[digits] && w[digits] <= '9' {
		n = 10*n + int(w[digits]-'0')
		digits++
	}
	if rest := w[digits:]; digits == 0 || digits > 2 || rest != "" && rest != "st" && rest != "nd" && rest != "rd" && rest != "th" && rest[0] != 't' {
		return 0
	}
	return n
}
