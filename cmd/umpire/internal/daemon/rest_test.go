package daemon

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once after each use, not during it, and not so often that it costs more than a hundredth of the
// time.
func TestMemoryIsGivenBackAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var freed []time.Duration
		r := &rest{free: func() {
			freed = append(freed, time.Since(begin))
			time.Sleep(50 * time.Millisecond)
		}}
		var busy atomic.Int64
		use := func(d time.Duration) {
			for range d / (100 * time.Millisecond) {
				busy.Store(time.Now().UnixNano())
				r.await(&busy)
				time.Sleep(100 * time.Millisecond)
			}
		}
		use(10 * time.Second) // the last time at 9.9 s
		time.Sleep(20 * time.Second)
		use(2 * time.Second) // the last time at 31.9 s
		time.Sleep(time.Second)
		use(2 * time.Second) // the last time at 34.9 s: too soon
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{10900 * time.Millisecond, 32900 * time.Millisecond, 37900 * time.Millisecond}
		if !slices.Equal(freed, want) {
			t.Errorf("given back after %v, want %v", freed, want)
		}
		use(time.Second)
		r.stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(freed) != len(want) {
			t.Errorf("given back after the end: %v", freed)
		}
	})
}
