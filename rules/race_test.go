//go:build race

package rules_test

func init() { raced = true }
