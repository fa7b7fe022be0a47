package deliver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBackoffGrowsToItsCeiling(t *testing.T) {
	for attempts, ceiling := range map[int]time.Duration{
		0: backoffBase, 1: backoffBase, 2: 2 * time.Second, 5: 16 * time.Second,
		9: 256 * time.Second, 10: backoffMax, 1000: backoffMax,
	} {
		highest := time.Duration(0)
		for range 2000 {
			pause := Backoff(attempts)
			assert.GreaterOrEqual(t, pause, backoffMin)
			assert.LessOrEqual(t, pause, ceiling)
			highest = max(highest, pause)
		}
		assert.Greater(t, highest, ceiling*8/10, "full jitter uses the whole range after %d attempts", attempts)
	}
}
