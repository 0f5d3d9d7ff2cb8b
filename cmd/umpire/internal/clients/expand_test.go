package clients

import (
	"fmt"
	"testing"
)

func TestVariablesOfClients(t *testing.T) {
	for _, tc := range [][3]string{
		{"${A}/${env:A} {env:A}", "1/1 1", "[]"},
		{"${B:-two}${B}", "two", "[B]"},
		{"${input:key}", "", "[key]"},
		{"${workspaceFolder}${userHome}", "/project/home", "[]"},
		{"{A} $A {input:A}x", "{A} $A {input:A}x", "[]"},
	} {
		x := Expander{Lookup: func(name string) (string, bool) { return "1", name == "A" }, Home: "/home", Work: "/project"}
		if got := x.Expand(tc[0]); got != tc[1] || fmt.Sprint(x.Missing) != tc[2] {
			t.Errorf("%s is %q without %v, want %q without %s", tc[0], got, x.Missing, tc[1], tc[2])
		}
	}
}
