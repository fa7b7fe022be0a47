package loglimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAdmitsOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter[string]
		admit := func(key string, wantOmitted int, want bool) {
			t.Helper()
			omitted, ok := l.Admit(key)
			assert.Equal(t, want, ok)
			assert.Equal(t, wantOmitted, omitted)
		}
		admit("orders", 0, true)
		admit("orders", 0, false)
		admit("orders", 0, false)
		admit("bills", 0, true)
		time.Sleep(Interval)
		admit("orders", 2, true)
		time.Sleep(Interval)
		admit("orders", 0, true)
	})
}

func TestBoundsItsMemory(t *testing.T) {
	var l Limiter[int]
	for i := range 3 * maxKeys {
		l.Admit(i)
	}
	assert.LessOrEqual(t, len(l.events), maxKeys)
}

// What there is no room for is limited together, and there is room again when
// others are over.
func TestLimitsMoreThanItRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter[int]
		admitted := func(from, to int) (n int) {
			for range 3 {
				for i := from; i < to; i++ {
					if _, ok := l.Admit(i); ok {
						n++
					}
				}
			}
			return n
		}
		assert.Equal(t, maxKeys+1, admitted(0, maxKeys+100))
		time.Sleep(Interval)
		assert.Equal(t, 100, admitted(maxKeys, maxKeys+100))
	})
}
