// Package policies holds the example policies.
package policies

import "embed"

// Files is every policy of this directory.
//
//go:embed *.yaml
var Files embed.FS
