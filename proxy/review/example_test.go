package review_test

import (
	"fmt"
	"time"

	"github.com/umpire-dev/umpire/proxy/review"
	"github.com/umpire-dev/umpire/rules/event"
)

// gate allows what is approved.
type gate struct{}

func (gate) Review(_ uint64, d review.Decision) (event.Verdict, error) {
	v := event.Verdict{Why: d.Who + " decided"}
	if d.Approve {
		v.Action = event.Allow
	}
	return v, nil
}

func (gate) Propose(uint64, review.Decision) (review.Proposal, error) { return review.Proposal{}, nil }

func (gate) Expire(uint64, string) (event.Verdict, error) { return event.Verdict{}, nil }

func ExampleDesk() {
	desk := review.NewDesk(gate{})
	slot, _ := desk.Park(review.Held{Call: 7, Server: "billing", Tool: "issue_refund"}, time.Hour)
	for _, h := range desk.List() {
		fmt.Println("on hold:", h.Call, h.Server, h.Tool)
	}
	go desk.Decide(7, review.Decision{Who: "local:ann", Approve: true})
	<-slot.Done()
	fmt.Println(slot.Verdict().Action, slot.Verdict().Why)
	_, err := desk.Decide(7, review.Decision{Who: "local:bob"})
	fmt.Println(err)
	// Output:
	// on hold: 7 billing issue_refund
	// allow local:ann decided
	// call #7 is not on hold any more: local:ann approved it
}
