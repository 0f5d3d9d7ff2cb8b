package main

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// Not even a killed umpire run leaves a server behind: on Linux, the kernel sees to that. Its link is closed, and what
// the server was working on is lost.
func TestAShimThatIsKilledTakesItsServerAlong(t *testing.T) {
	s := newSite(t, "rules: []")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, cmd, stderr := s.connect(ctx, t, "peer", "official")
	hanging := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, "hang", nil)
		hanging <- err
	}()
	if err := stderr.wait(ctx, "hanging"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-hanging; err == nil || ctx.Err() != nil {
		t.Errorf("the call ended with %v", err)
	}
	c.Close()
	eventually(t, "the server to end", func() string {
		for _, line := range processes(s.dir) {
			if strings.Contains(line, "stdio-peer") {
				return line
			}
		}
		return ""
	})
	eventually(t, "the call to be lost", func() string {
		if got := s.calls(t); !slices.Equal(got, []string{"peer/hang allow lost"}) {
			return strings.Join(got, ", ")
		}
		return ""
	})
	var kinds []string
	for _, e := range s.events(t) {
		kinds = append(kinds, e.Body.Kind())
	}
	eventually(t, "the link to close", func() string {
		kinds = nil
		for _, e := range s.events(t) {
			kinds = append(kinds, e.Body.Kind())
		}
		if !slices.Contains(kinds, "closed") {
			return strings.Join(kinds, " ")
		}
		return ""
	})
}
