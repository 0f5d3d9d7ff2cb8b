package lineage_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/umpire-dev/umpire/rules/lineage"
)

// The odds that the documentation states: of words that stand nowhere, so many are found by chance. Texts are 2 MiB, as much as
// a session has at once: those of two epochs.
func TestWhatStandsNowhereIsFoundAsRarelyAsStated(t *testing.T) {
	if testing.Short() {
		t.Skip("asks a million times")
	}
	var random *rand.Rand
	for name, tc := range map[string]struct {
		text  func() string
		oneIn int
	}{
		"prose": {func() string { return prose(2 << 20) }, 5_000},
		"short words, as many as there can be": {func() string {
			var b strings.Builder
			for b.Len() < 2<<20 {
				fmt.Fprintf(&b, "%s ", strings.ToLower(fmt.Sprintf("%X", random.Uint32()>>uint(random.IntN(16)+8))))
			}
			return b.String()
		}, 2_000},
	} {
		random = rand.New(rand.NewPCG(1, 2))
		var m lineage.Memory
		text := tc.text()
		for at := 0; at < len(text); at += 64 << 10 {
			m.Add(lineage.Source{Class: lineage.Untrusted}, lineage.Read(text[at:min(at+64<<10, len(text))], lineage.Untrusted))
		}
		const asked = 400_000
		found := 0
		for range asked {
			if m.Has(lineage.Untrusted, fmt.Sprintf("zz%x", random.Uint64())) {
				found++
			}
		}
		t.Logf("%s: %d of %d words that stand nowhere are found: one in %d", name, found, asked, asked/max(found, 1))
		if found*tc.oneIn > asked {
			t.Errorf("%s: %d of %d words that stand nowhere are found, more than one in %d", name, found, asked, tc.oneIn)
		}
		if found == 0 {
			t.Errorf("%s: nothing is found by chance, so this measures nothing", name)
		}
	}
}
