package relay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The last request with rows ends, and its outcome is stored, before their lease
// does: otherwise another process would post them, too.
func TestLastRequestEndsWithinTheLease(t *testing.T) {
	for _, longest := range []time.Duration{0, time.Second, 20 * time.Second, time.Minute, time.Hour} {
		r := New(Config{MaxTime: longest, MinLease: time.Minute})
		leased := time.Now()
		assert.False(t, r.PostUntil(leased).Add(longest+StoreTimeout).After(leased.Add(r.Lease())), "requests take %v", longest)
		assert.Greater(t, r.PostUntil(leased).Sub(leased), longest, "there is time for more than one")
	}
}
