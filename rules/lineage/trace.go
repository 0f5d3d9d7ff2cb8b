package lineage

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Origin says where a value, or the values of a structure, can have come from.
type Origin struct {
	Class   Class // of all texts in which it stands
	Said    bool  // every part of it was said by the user
	Set     bool  // every part of it stands in trusted configuration
	Model   bool  // some part of it stands nowhere: the model's own words, as far as it is known
	Lost    bool  // some part of it stands nowhere, and something was forgotten that could have held it
	Sources []Source
	Value   string // the part that is worst, to show
}

// Outside reports whether some part that the user did not say can have come from a text that somebody else wrote.
func (o *Origin) Outside() bool { return o.Class&Outside != 0 || o.Lost }

// maxEvidence bounds Sources.
const maxEvidence = 8

// The bounds of a value that is traced. What is beyond is as if it came from outside.
const (
	MaxValue  = 64 << 10
	MaxValues = 256
)

// Trace says where values can have come from, taken together. Blank values, and those of a single letter or digit, say
// nothing and are left out. Overheard has what talks to the assistant in places that are not of this conversation; nil for
// nothing.
func (m *Memory) Trace(values []string, overheard *Memory) Origin {
	out := Origin{Said: true, Set: true}
	size, worst, steps := 0, -1, maxSteps
	any := false
	var p probe
	for i, v := range values {
		if size += len(v); i >= MaxValues || size > MaxValue {
			out.Lost, out.Said, out.Set, any = true, false, false, true
			break
		}
		p.set(v)
		o, ok := m.trace(&p, &steps)
		if !ok {
			continue
		}
		any = true
		switch {
		case o.Said: // whoever else said it
			o = Origin{Class: User, Said: true, Set: o.Set}
		case overheard != nil:
			if x, _ := overheard.trace(&p, &steps); x.Class&Spoken != 0 {
				o.Class |= x.Class & Outside
				o.Model, o.Lost = false, false
				o.Sources = append(o.Sources, x.Sources...)
			}
		}
		out.Class |= o.Class
		out.Said, out.Set = out.Said && o.Said, out.Set && o.Set
		out.Model, out.Lost = out.Model || o.Model, out.Lost || o.Lost
		for _, s := range o.Sources {
			if len(out.Sources) < maxEvidence && !slices.Contains(out.Sources, s) {
				out.Sources = append(out.Sources, s)
			}
		}
		if rank := o.rank(); rank > worst {
			worst, out.Value = rank, v
			slices.SortStableFunc(out.Sources, func(a, b Source) int { // its own first
				return cmp.Compare(slices.Index(o.Sources, b), slices.Index(o.Sources, a))
			})
		}
	}
	if !any {
		return Origin{}
	}
	return out
}

// Each says of each value by itself where it can have come from. Together they are bounded as those of one Trace; the Origin of a
// value that says nothing is empty.
func (m *Memory) Each(values []string) []Origin {
	out := make([]Origin, len(values))
	size, steps := 0, maxSteps
	var p probe
	for i, v := range values {
		if size += len(v); i >= MaxValues || size > MaxValue {
			out[i].Lost = true
			continue
		}
		p.set(v)
		o, ok := m.trace(&p, &steps)
		switch {
		case !ok:
			continue
		case o.Said: // whoever else said it
			o = Origin{Class: User, Said: true, Set: o.Set}
		}
		o.Value = v
		out[i] = o
	}
	return out
}

// rank orders origins by how little they are to be trusted.
func (o *Origin) rank() int {
	switch {
	case o.Said, o.Set:
		return 0
	case o.Lost:
		return 128
	}
	return int(o.Class&^(User|System|Private)) + 1
}

// probe is a value that is looked for: itself, and what can be decoded from it.
type probe struct {
	forms []probed
	all   bool // there was no more to decode
}

type probed struct {
	folded
	prints []uint32
}

// set makes p the probe of a value, in the place of the one before.
func (p *probe) set(value string) {
	var forms []string
	forms, p.all = Decoded(value)
	p.forms = p.forms[:0]
	room := 2*len(value) + 4096
	for _, form := range forms {
		if room -= len(form); room < 0 {
			p.all = false
			break
		}
		n := len(p.forms)
		if n == cap(p.forms) {
			p.forms = append(p.forms, probed{})
		}
		p.forms = p.forms[:n+1]
		f := &p.forms[n]
		f.prints = f.prints[:0]
		if f.fold(form); len(f.letters) < 2 {
			p.forms = p.forms[:n]
			continue
		}
		prints(f.letters, func(h uint32) { f.prints = append(f.prints, h) })
	}
}

// trace says where one value can have come from; ok is false if it says nothing. Steps are left for comparing it with what
// was said.
func (m *Memory) trace(p *probe, steps *int) (o Origin, ok bool) {
	for i := range p.forms {
		f := &p.forms[i]
		x := m.whole(f, steps)
		if i == 0 && x.Said {
			return x, true // what the user said needs no decoding
		}
		if x.Class == 0 || len(f.words) > 2 {
			m.pieces(f, &x, steps)
		}
		if i == 0 {
			m.dated(&f.folded, &x)
		}
		if !ok {
			o, ok = x, true
			continue
		}
		o.Class |= x.Class
		o.Sources = append(o.Sources, x.Sources...)
		o.Said, o.Set = o.Said || x.Said, o.Set || x.Set
	}
	if !ok {
		return o, false
	}
	nowhere := o.Class == 0
	o.Model = nowhere
	o.Lost = nowhere && m.full || !p.all
	return o, true
}

// whole looks for all the letters of f in a row.
func (m *Memory) whole(f *probed, steps *int) (o Origin) {
	class, source := m.find(f, 0, len(f.words))
	if class == 0 {
		return o
	}
	if len(f.words) == 1 && len(f.letters) < 8 && !bytes.ContainsAny(f.letters, "0123456789") {
		class &^= Spoken | Private // any text has such a word
	}
	if class&User != 0 {
		o.Said = m.spoke(User, f.letters, hash(f.word(0)), steps)
	}
	if class&System != 0 {
		o.Set = m.spoke(System, f.letters, hash(f.word(0)), steps)
	}
	if class &^= User | System; o.Said {
		class |= User
	}
	if o.Set {
		class |= System
	}
	o.Class = class
	if class&(Outside|Trusted) != 0 {
		o.Sources = []Source{m.sources[source]}
	}
	return o
}

// dated looks for a date that is written in another way.
func (m *Memory) dated(f *folded, o *Origin) {
	const longest = 8 // words of a date with a time
	if len(f.words) < 2 || len(f.words) > longest {
		return
	}
	for date := range strings.FieldsSeq(dates(f)) {
		class, source := m.table.find(hash([]byte(date)))
		if class&(User|System) == 0 && class&Outside != 0 {
			o.Class |= class
			o.Sources = append(o.Sources, m.sources[source])
		}
	}
}

// find returns the classes of the texts that have words from i to j of f in a row, as far as hashes tell, and one such text.
func (m *Memory) find(f *probed, i, j int) (Class, int) {
	letters := f.letters[f.words[i]:f.end(j-1)]
	if len(letters) <= longest {
		if class, source := m.table.find(hash(letters)); class != 0 {
			return class, source
		}
	}
	class, source, first := Class(0xff), 0, true
	both := func(h uint32) {
		c, s := m.table.find(h)
		if class &= c; first || c&Outside != 0 {
			source = s
		}
		first = false
	}
	switch {
	case len(letters) == len(f.letters) && len(f.prints) > 0:
		for _, h := range f.prints {
			both(h)
		}
	case len(letters) >= common:
		prints(letters, both)
	case j-i < 2:
		return 0, 0
	default:
		for k := i + 1; k < j; k++ {
			both(hash(f.word(k-1), f.word(k)))
		}
	}
	if class == Private { // of different results
		class = 0
	}
	return class, source
}

// maxBrief is how many words a text has at most of which a part is held against the whole, if it is from a passage that talks to
// the assistant: who writes a report about a document quotes it.
const maxBrief = 40

// pieces looks for parts of a longer text: names of things, such as addresses, numbers and paths, and passages that are copied.
func (m *Memory) pieces(f *probed, o *Origin, steps *int) {
	found := func(class Class, source int) {
		if len(f.words) > maxBrief {
			class &^= Spoken
		}
		if class &= Trusted | Outside | Private; class&^Private == 0 {
			return
		}
		o.Class |= class
		if s := m.sources[source]; len(o.Sources) < maxEvidence && !slices.Contains(o.Sources, s) {
			o.Sources = append(o.Sources, s)
		}
	}
	piece := func(i, j int) {
		letters := f.letters[f.words[i]:f.end(j-1)]
		if len(letters) < 5 || len(letters) > longest || !bytes.ContainsAny(letters, "0123456789") && len(letters) < 8 {
			return
		}
		class, source := m.find(f, i, j)
		if class&User != 0 && m.spoke(User, letters, hash(f.word(i)), steps) {
			return
		}
		found(class, source)
	}
	for _, c := range f.compounds {
		i, _ := slices.BinarySearch(f.words, c.from)
		j, _ := slices.BinarySearch(f.words, c.to)
		piece(i, j)
	}
	for i := range f.words {
		if f.numeral(i) {
			piece(i, i+1)
		}
	}
	f.numbers(piece)
	var classes [copied]Class
	n := 0
	for _, h := range f.prints {
		class, source := m.table.find(h)
		classes[n%copied] = class
		if n++; n < copied {
			continue
		}
		common := Class(0xff)
		for _, c := range classes {
			common &= c
		}
		if common&User == 0 {
			found(common, source)
		}
	}
}

// copied is how many fingerprints in a row a passage shares that was copied; a turn of phrase that two texts have in common shares
// one or two.
const copied = 4

// Has reports whether texts of a class have a word, in one of the forms in which it can stand.
func (m *Memory) Has(class Class, word string) bool {
	c, _ := m.table.find(hash([]byte(word)))
	return c&class != 0
}

// String formats a class for people.
func (c Class) String() string {
	var words []string
	for i, name := range []string{"user", "system", "trusted", "named", "untrusted", "spoken", "private"} {
		if c&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// Named reports whether all that came from outside came from results at which the user pointed, and none of it talks to the
// assistant.
func (o *Origin) Named() bool { return o.Class&Outside == Named && !o.Lost }
