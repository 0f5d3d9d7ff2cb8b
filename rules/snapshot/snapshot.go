// Package snapshot writes derived state down and reads it again: deterministic CBOR (RFC 8949) behind a checksum. Equal
// values give equal bytes; bytes that are damaged give an error and nothing else.
//
// A snapshot saves the work of folding the log again and is never the truth. Whoever cannot read one folds the log.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// ErrDamaged says that bytes are no snapshot, or no longer what was written.
var ErrDamaged = errors.New("snapshot: damaged")

// Encode writes v down: structs, maps, slices, integers, texts and bytes. Fields go by their cbor or json tags.
func Encode(v any) ([]byte, error) {
	mode, err := cbor.EncOptions{
		Sort: cbor.SortCoreDeterministic, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty, // JSON, from which the fold comes, does not tell them apart
	}.EncMode()
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, sha256.Size, 1<<16))
	if err := mode.NewEncoder(out).Encode(v); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	data := out.Bytes()
	sum := sha256.Sum256(data[sha256.Size:])
	copy(data, sum[:])
	return data, nil
}

// Decode reads into v, a pointer, what Encode has written. A field that v does not have is an error, too: whoever wrote it
// knew more.
func Decode(data []byte, v any) error {
	if len(data) < sha256.Size {
		return fmt.Errorf("%w: %d bytes are too few", ErrDamaged, len(data))
	}
	body := data[sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[:sha256.Size]) {
		return fmt.Errorf("%w: its checksum is another", ErrDamaged)
	}
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		UTF8:             cbor.UTF8DecodeInvalid, // texts are those that rules saw, whatever they are
		MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32,
	}.DecMode()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := mode.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// Text formats what Encode has written, for people.
func Text(data []byte) string {
	if len(data) < sha256.Size {
		return ""
	}
	text, err := cbor.Diagnose(data[sha256.Size:])
	if err != nil {
		return err.Error()
	}
	return text
}
