//go:build !linux

package lineage_test

import "time"

var began = time.Now()

// threadTime is how long it took: elsewhere nobody says how long a thread has worked.
func threadTime() time.Duration { return time.Since(began) }
