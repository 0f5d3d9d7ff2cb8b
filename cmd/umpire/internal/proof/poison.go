package proof

import (
	"fmt"
	"time"

	"github.com/umpire-dev/umpire/rules/baseline"
)

// Poison lets somebody who knows every score teach an agent's baseline for so many days: each day a session in which it refunds as
// often as nobody would be asked about, after which a new baseline is learned and a person puts it into force, whatever it says. It
// returns how many refunds passed, day by day. Without the cap each baseline is learned as if there had been none before.
func Poison(seed uint64, days int, capped bool) (passed []int, err error) {
	support := &jobs[0]
	history := support.live(seed, 0, learned)
	var live *baseline.Baseline
	for day := learned; day < learned+days; day++ {
		b, err := baseline.Learn(record(history).from, baseline.Learning{Live: live})
		if err != nil {
			return nil, err
		}
		text, err := b.Encode()
		if err != nil {
			return nil, err
		}
		if b, err = baseline.Parse(text); err != nil {
			return nil, err
		}
		if capped {
			live = b
		}
		r := chance(seed, "poison", day)
		w := &world{day: day}
		s := session{agent: support.agent, id: fmt.Sprintf("poison-%d", day), at: monday.AddDate(0, 0, day).Add(13 * time.Hour), steps: w.support(r)[:1]}
		for range 300 {
			x := do(r, "billing/issue_refund", map[string]any{"order_id": w.order(r), "amount": cents(r), "reason": "late"})
			x.strange, x.fails = true, false
			s.steps = append(s.steps, x)
		}
		today := support.live(seed, day, day+1)
		h := record(append(append(around(history, s.at, s.at), today...), s))
		o, err := look(&scored{watch: watching(text, b), level: Level}, h.from, h.strange, always)
		if err != nil {
			return nil, err
		}
		n := o.calls
		if o.found {
			n--
		}
		passed = append(passed, n)
		s.steps = s.steps[:1+n]
		for i := range s.steps {
			s.steps[i].strange = false // what comes later is looked at for itself
		}
		history = append(append(history, today...), s)
	}
	return passed, nil
}
