package lineage

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/umpire-dev/umpire/rules/snapshot"
)

// digest is a Text written down without its words: hashes, and sums of what was said.
type digest struct {
	_     struct{} `cbor:",toarray"`
	Size  int
	Said  bool
	All   bool
	Base  uint64 // of the sums
	Forms []formDigest
}

// formDigest is a form. Lists of numbers are written as bytes, which takes half the room.
type formDigest struct {
	_        struct{} `cbor:",toarray"`
	Keys     []byte
	Bounds   []byte
	Words    []byte
	Sums     []byte
	Mentions []byte
	Names    []byte
	Hands    bool
	Passages []passageDigest
}

type passageDigest struct {
	_         struct{} `cbor:",toarray"`
	From      int
	To        int
	Why       string
	Keys      []byte
	Sentences [][]byte
	Record    []byte
}

// Digest returns what is left of t if no text is to be kept: enough to find the same values in it. Words are hashes of 32
// bits and can be guessed. Letters that the user said are told from others by sums under base: whoever does not know that
// finds others with the same sum by a chance of at most n·m in 2⁶¹, of n letters among m words.
func (t *Text) Digest(base uint64) ([]byte, error) {
	d := digest{Size: t.size, Said: t.said, All: t.all, Base: base}
	for i := range t.forms {
		f := &t.forms[i]
		x := formDigest{Keys: pack(f.keys), Mentions: pack(f.mentions), Names: pack(f.names), Hands: f.hands}
		if f.spelled != nil {
			s := f.spelled.summed(base)
			for _, v := range s.sums {
				x.Sums = binary.LittleEndian.AppendUint64(x.Sums, v)
			}
			x.Bounds, x.Words = pack(s.bounds), pack(s.words)
		}
		for k := range f.passages {
			p := &f.passages[k]
			y := passageDigest{From: p.From, To: p.To, Why: p.Why, Keys: pack(p.keys), Record: pack(p.record)}
			for _, words := range p.sentences {
				y.Sentences = append(y.Sentences, pack(words))
			}
			x.Passages = append(x.Passages, y)
		}
		d.Forms = append(d.Forms, x)
	}
	return snapshot.Encode(d)
}

// errDigest says that bytes are not what Digest has written.
var errDigest = errors.New("lineage: no digest of a text")

// ReadDigest returns the Text of which data is the Digest. It finds the same as that, but for the odds that Digest states.
func ReadDigest(data []byte) (*Text, error) {
	var d digest
	if err := snapshot.Decode(data, &d); err != nil {
		return nil, err
	}
	t := &Text{size: d.Size, said: d.Said, all: d.All}
	if d.Size < 0 || len(d.Forms) > maxForms {
		return nil, errDigest
	}
	for _, x := range d.Forms {
		f := form{keys: unpack[uint32](x.Keys), mentions: unpack[uint32](x.Mentions), names: unpack[uint32](x.Names), hands: x.Hands}
		if slices.Contains(f.keys, 0) || d.Said != (len(x.Bounds) > 0) {
			return nil, errDigest
		}
		if d.Said {
			if f.spelled = restored(d.Base, unpack[int32](x.Bounds), unpack[uint32](x.Words), x.Sums); f.spelled == nil {
				return nil, errDigest
			}
		}
		for _, p := range x.Passages {
			y := passage{Span: Span{From: p.From, To: p.To, Why: p.Why}, keys: unpack[uint32](p.Keys), record: unpack[uint32](p.Record)}
			for _, words := range p.Sentences {
				y.sentences = append(y.sentences, unpack[uint32](words))
			}
			if slices.Contains(y.keys, 0) {
				return nil, errDigest
			}
			f.passages = append(f.passages, y)
		}
		if slices.Contains(f.mentions, 0) {
			return nil, errDigest
		}
		t.forms = append(t.forms, f)
	}
	return t, nil
}

// restored returns a spelling of sums; nil if it is none.
func restored(base uint64, bounds []int32, words []uint32, sums []byte) *spelling {
	if len(bounds) != len(words)+1 || len(sums) != 8*len(bounds) || bounds[0] != 0 || !slices.IsSorted(bounds) {
		return nil
	}
	s := &spelling{bounds: bounds, words: words, base: base % prime, sums: make([]uint64, len(bounds))}
	for i := range s.sums {
		s.sums[i] = binary.LittleEndian.Uint64(sums[8*i:]) % prime
	}
	s.sort()
	return s
}

func pack[T int32 | uint32](list []T) []byte {
	out := make([]byte, 0, 4*len(list))
	for _, v := range list {
		out = binary.LittleEndian.AppendUint32(out, uint32(v)) //nolint:gosec // bounds are not negative
	}
	return out
}

func unpack[T int32 | uint32](data []byte) []T {
	out := make([]T, len(data)/4)
	for i := range out {
		out[i] = T(binary.LittleEndian.Uint32(data[4*i:])) //nolint:gosec // see pack
	}
	return out
}
