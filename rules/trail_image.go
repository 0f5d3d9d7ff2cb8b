package rules

import (
	"errors"

	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/rules/lineage"
)

// trailsImage are the trails written down. Memories are made again from the texts.
type trailsImage struct {
	_        struct{} `cbor:",toarray"`
	Epoch    int64
	Size     int
	Sessions map[string]trailImage
}

type trailImage struct {
	_       struct{} `cbor:",toarray"`
	Seq     uint64
	Epoch   int64
	Texts   []heardImage
	Size    int
	Talk    int
	Count   int
	Missing int64
	Deaf    int64
	Touched map[string]int64
	Pending map[uint64]int64
}

type heardImage struct {
	_      struct{} `cbor:",toarray"`
	Seq    uint64
	Server string
	Tool   string
	Class  lineage.Class
	Epoch  int64
	Text   string
	Digest []byte // in the place of a text; empty for none
}

func (t *trails) image(at event.Time) *trailsImage {
	if t == nil {
		return nil
	}
	t.advance(at)
	img := &trailsImage{Epoch: t.epoch, Size: t.size, Sessions: make(map[string]trailImage, len(t.sessions))}
	for id, s := range t.sessions {
		x := trailImage{
			Seq: s.seq, Epoch: s.epoch, Size: s.size, Talk: s.talk, Count: s.count, Missing: s.missing, Deaf: s.deaf, Touched: s.touched, Pending: s.pending,
			Texts: make([]heardImage, len(s.texts)),
		}
		for i, h := range s.texts {
			x.Texts[i] = heardImage{Seq: h.source.Seq, Server: h.source.Server, Tool: h.source.Tool, Class: h.source.Class, Epoch: h.epoch, Text: h.text, Digest: h.digest}
		}
		img.Sessions[id] = x
	}
	return img
}

func (t *trails) restore(img *trailsImage) error {
	if (t == nil) != (img == nil) {
		return errors.New("what was said in sessions is there and not asked for, or the other way round")
	}
	if t == nil {
		return nil
	}
	t.epoch, t.size = img.Epoch, img.Size
	for id, x := range img.Sessions {
		s := t.newTrail(x.Epoch)
		s.seq, s.size, s.talk, s.count, s.missing, s.deaf = x.Seq, x.Size, x.Talk, x.Count, x.Missing, x.Deaf
		for word, epoch := range x.Touched {
			s.touched[word] = epoch
		}
		for call, epoch := range x.Pending {
			s.pending[call] = epoch
		}
		for _, h := range x.Texts {
			source := lineage.Source{Seq: h.Seq, Server: h.Server, Tool: h.Tool, Class: h.Class}
			kept := heard{source: source, epoch: h.Epoch, text: h.Text}
			if len(h.Digest) > 0 {
				kept.digest = h.Digest
			}
			s.texts = append(s.texts, kept)
		}
		t.sessions[id] = s
	}
	return nil
}
