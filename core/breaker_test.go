package core

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	errDown    = &failure{class: transient, cause: errors.New("refused")}
	errSlow    = &failure{class: transient, cause: errors.New("408"), status: 408}
	errTooMany = &failure{class: transient, cause: errors.New("429"), status: 429}
	errRefused = &failure{class: permanent, cause: errors.New("400"), status: 400}
	errHurried = &failure{class: transient, cause: errors.New("deadline"), timedOut: true, interrupted: true}
)

// watchedBreaker makes a breaker and the list of its changes.
func watchedBreaker() (*breaker, *[]BreakerState) {
	var changes []BreakerState
	return newBreaker(func(state BreakerState) { changes = append(changes, state) }), &changes
}

func outcome(t *testing.T, b *breaker, err error) {
	t.Helper()
	done, refused := b.allow()
	require.NoError(t, refused)
	done(err)
}

func TestBreakerOpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := watchedBreaker()
		for range 4 {
			outcome(t, b, errDown)
		}
		outcome(t, b, nil)
		for range 4 {
			outcome(t, b, errTooMany)
		}
		assert.Equal(t, BreakerClosed, b.state(), "a success ends the row")
		outcome(t, b, errDown)
		assert.Equal(t, BreakerOpen, b.state())

		_, err := b.allow()
		f := asFailure(err)
		assert.True(t, f.untried)
		assert.ErrorIs(t, f.cause, ErrBreakerOpen)
		assert.Equal(t, []BreakerState{BreakerOpen}, *changes)
	})
}

func TestBreakerOpensWhenHalfOfTwentyFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := watchedBreaker()
		for i := range 20 {
			require.Equal(t, BreakerClosed, b.state(), "after %d", i)
			if i%2 == 0 {
				outcome(t, b, nil)
			} else {
				outcome(t, b, errDown)
			}
		}
		assert.Equal(t, BreakerOpen, b.state())
	})
}

func TestBreakerForgetsAfterItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := watchedBreaker()
		for range 4 {
			outcome(t, b, errDown)
			outcome(t, b, errDown)
			outcome(t, b, nil)
			time.Sleep(breakerWindow / 3)
		}
		for range 8 {
			outcome(t, b, nil)
		}
		assert.Equal(t, BreakerClosed, b.state())
	})
}

func TestBreakerCountsOnlyFailuresOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := watchedBreaker()
		for _, err := range []error{errRefused, errSlow, errHurried} {
			for range 30 {
				outcome(t, b, err)
			}
		}
		assert.Equal(t, BreakerClosed, b.state())
		assert.Empty(t, *changes)
	})
}

func TestBreakerProbesWithOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := watchedBreaker()
		for range breakerConsecutive {
			outcome(t, b, errDown)
		}
		time.Sleep(breakerPause + time.Millisecond)
		assert.Equal(t, BreakerHalfOpen, b.state())

		probe, err := b.allow()
		require.NoError(t, err)
		_, err = b.allow()
		require.Error(t, err, "only one request may probe")
		probe(errHurried)
		assert.Equal(t, BreakerHalfOpen, b.state(), "a caller that gave up says nothing of the server")

		outcome(t, b, errDown)
		assert.Equal(t, BreakerOpen, b.state())
		time.Sleep(breakerPause + time.Millisecond)
		outcome(t, b, nil)
		assert.Equal(t, BreakerClosed, b.state())
		assert.Equal(t, []BreakerState{BreakerOpen, BreakerHalfOpen, BreakerOpen, BreakerHalfOpen, BreakerClosed}, *changes)
	})
}

func TestBreakerMayBeUsedWhereItsChangesAreReported(t *testing.T) {
	var b *breaker
	var seen []BreakerState
	b = newBreaker(func(BreakerState) { seen = append(seen, b.state()) })
	for range breakerConsecutive {
		outcome(t, b, errDown)
	}
	assert.Equal(t, []BreakerState{BreakerOpen}, seen)
}

// A panic of the observer leaves the breaker able to close again.
func TestBreakerSurvivesPanicsOfTheObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := false
		b := newBreaker(func(BreakerState) {
			if panics {
				panics = false
				panic("observer")
			}
		})
		for range breakerConsecutive {
			done, err := b.allow()
			require.NoError(t, err)
			done(&failure{class: transient, cause: errors.New("down")})
		}
		require.Equal(t, BreakerOpen, b.state())
		time.Sleep(breakerPause + time.Millisecond)
		panics = true
		assert.Panics(t, func() { _, _ = b.allow() }, "as it begins to probe the server")
		done, err := b.allow()
		require.NoError(t, err, "the next message probes it")
		done(nil)
		assert.Equal(t, BreakerClosed, b.state())
	})
}

// Changes are told in their order, though one takes long to be told of.
func TestBreakerTellsChangesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []BreakerState
		b := newBreaker(func(state BreakerState) {
			if state == BreakerOpen {
				time.Sleep(3 * breakerPause)
			}
			told = append(told, state)
		})
		fail := func() {
			done, err := b.allow()
			require.NoError(t, err)
			done(&failure{class: transient, cause: errors.New("down")})
		}
		for range breakerConsecutive - 1 {
			fail()
		}
		go fail() // which tells that it is open
		time.Sleep(2 * breakerPause)
		done, err := b.allow()
		require.NoError(t, err)
		done(nil)
		time.Sleep(3 * breakerPause)
		synctest.Wait()
		assert.Equal(t, []BreakerState{BreakerOpen, BreakerHalfOpen, BreakerClosed}, told)
	})
}
