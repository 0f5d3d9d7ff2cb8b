package wire

import (
	"github.com/tidwall/gjson"

	"github.com/umpire-dev/umpire/rules/canonical"
)

// CanonicalArgs returns arguments, which have been read before, in a form that is equal for arguments that are equal, without
// those that are Umpire's own.
func CanonicalArgs(raw []byte) []byte {
	if args := gjson.ParseBytes(raw); args.IsObject() {
		return canonical.AppendObject(nil, args, IsIntent)
	}
	return canonical.Append(nil, gjson.ParseBytes(raw))
}
