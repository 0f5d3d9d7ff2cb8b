package snapshot_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/umpire-dev/umpire/rules/snapshot"
)

type pair struct {
	_     struct{} `cbor:",toarray"`
	Seq   uint64
	Names map[string][]byte
}

func TestEqualValuesGiveEqualBytes(t *testing.T) {
	names := map[string][]byte{}
	for i := range 100 {
		names[fmt.Sprint(i)] = []byte{byte(i)}
	}
	first, err := snapshot.Encode(pair{Seq: 1, Names: names})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // maps are walked in another order each time
		again, err := snapshot.Encode(pair{Seq: 1, Names: names})
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%v\n%s\n%s", err, snapshot.Text(first), snapshot.Text(again))
		}
	}
	var back pair
	if err := snapshot.Decode(first, &back); err != nil || back.Seq != 1 || len(back.Names) != 100 {
		t.Errorf("%+v %v", back, err)
	}
}

func TestWhatIsNotWhatWasWrittenIsDamaged(t *testing.T) {
	data, err := snapshot.Encode(pair{Seq: 1, Names: map[string][]byte{"a": nil}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		for _, bytes := range [][]byte{bad, data[:i], append(bytes.Clone(data), data[:i+1]...)} {
			if err := snapshot.Decode(bytes, &pair{}); !errors.Is(err, snapshot.ErrDamaged) {
				t.Errorf("%x: %v", bytes, err)
			}
		}
	}
	// Whoever wrote more fields than these knew something that would be lost.
	var older struct {
		_   struct{} `cbor:",toarray"`
		Seq uint64
	}
	if err := snapshot.Decode(data, &older); !errors.Is(err, snapshot.ErrDamaged) {
		t.Error(err)
	}
}
