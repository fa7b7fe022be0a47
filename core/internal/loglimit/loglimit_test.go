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
