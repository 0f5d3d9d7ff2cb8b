// Package policies holds the example policies, and the one that is built in.
package policies

import (
	"embed"

	"github.com/umpire-dev/umpire/rules/event"
)

// Files is every policy of this directory.
//
//go:embed *.yaml
var Files embed.FS

//go:embed starter.yaml
var starter string

// Starter returns the policy that is in force where nobody wrote one.
func Starter() event.Source { return event.Source{Name: "starter.yaml", Text: starter} }
