package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/umpire-dev/umpire/rules/event"
)

// Image is a Catalog written down. Equal Catalogs have equal Images.
type Image struct {
	_         struct{} `cbor:",toarray"`
	Entries   []entryImage
	Skeletons map[string][]Key // of tools that share one
	Complete  []string
	Full      bool
}

// entryImage is an Entry; definitions stand in Tools once and are named by their index.
type entryImage struct {
	_      struct{} `cbor:",toarray"`
	Key    Key
	Tools  []event.Tool
	Pinned int // -1 for none
	Now    int
	Seq    uint64
	Doubts []doubtImage
	Pins   []string
}

type doubtImage struct {
	_     struct{} `cbor:",toarray"`
	Doubt event.Doubt
	Tool  int
	Seq   uint64
}

// Image writes c down.
func (c *Catalog) Image() Image {
	img := Image{Skeletons: map[string][]Key{}, Complete: slices.Sorted(maps.Keys(c.complete)), Full: c.full}
	for _, e := range c.All() {
		img.Entries = append(img.Entries, e.image())
	}
	for look, keys := range c.skeletons {
		if len(keys) > 1 {
			img.Skeletons[look] = keys
		}
	}
	return img
}

func (e *Entry) image() entryImage {
	img := entryImage{Key: e.Key, Pinned: -1, Seq: e.Seq, Pins: e.pins}
	index := map[*event.Tool]int{}
	add := func(t *event.Tool) int {
		i, ok := index[t]
		if !ok {
			i = len(img.Tools)
			index[t], img.Tools = i, append(img.Tools, *t)
		}
		return i
	}
	if img.Now = add(e.Now); e.Pinned != nil {
		img.Pinned = add(e.Pinned)
	}
	for _, d := range e.Doubts {
		img.Doubts = append(img.Doubts, doubtImage{Doubt: d.Doubt, Tool: add(d.Tool), Seq: d.Seq})
	}
	return img
}

// Restore returns the Catalog of which img was made.
func Restore(img Image) (*Catalog, error) {
	c := New()
	c.full = img.Full
	for _, s := range img.Complete {
		c.complete[s] = true
	}
	for _, e := range img.Entries {
		at := func(i int) *event.Tool {
			if i < 0 || i >= len(e.Tools) {
				return nil
			}
			return &e.Tools[i]
		}
		now := at(e.Now)
		if now == nil || c.tools[e.Key] != nil {
			return nil, fmt.Errorf("the tool %s is there twice or not at all", e.Key)
		}
		tool := &Entry{Key: e.Key, Pinned: at(e.Pinned), Seq: e.Seq, pins: e.Pins}
		c.looks(tool, now)
		c.tools[e.Key], tool.Now = tool, now
		for _, d := range e.Doubts {
			if at(d.Tool) == nil {
				return nil, fmt.Errorf("a doubt about a definition of %s that is not there", e.Key)
			}
			tool.Doubts = append(tool.Doubts, Doubt{d.Doubt, at(d.Tool), d.Seq})
		}
	}
	for look, keys := range img.Skeletons {
		if len(keys) != len(c.skeletons[look]) {
			return nil, errors.New("tools that look alike are missing")
		}
		c.skeletons[look] = keys
	}
	return c, nil
}
