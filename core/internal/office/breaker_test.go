package office

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
)

var (
	errDown    = &Failure{Class: Transient, Cause: errors.New("refused")}
	errSlow    = &Failure{Class: Transient, Cause: errors.New("408"), Status: 408}
	errTooMany = &Failure{Class: Transient, Cause: errors.New("429"), Status: 429}
	errRefused = &Failure{Class: Permanent, Cause: errors.New("400"), Status: 400}
	errHurried = &Failure{Class: Transient, Cause: errors.New("deadline"), TimedOut: true, Interrupted: true}
)

// watchedBreaker makes a breaker and the list of its changes.
func watchedBreaker() (*breaker, *[]circuit.State) {
	var changes []circuit.State
	return newBreaker(func(state circuit.State) { changes = append(changes, state) }), &changes
}

func outcome(t *testing.T, b *breaker, f *Failure) {
	t.Helper()
	done, refused := b.allow()
	require.Nil(t, refused)
	done(f)
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
		assert.Equal(t, circuit.Closed, b.state(), "a success ends the row")
		outcome(t, b, errDown)
		assert.Equal(t, circuit.Open, b.state())

		_, f := b.allow()
		assert.True(t, f.Untried)
		assert.ErrorIs(t, f.Cause, ErrBreakerOpen)
		assert.Equal(t, []circuit.State{circuit.Open}, *changes)
	})
}

func TestBreakerOpensWhenHalfOfTwentyFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := watchedBreaker()
		for i := range 20 {
			require.Equal(t, circuit.Closed, b.state(), "after %d", i)
			if i%2 == 0 {
				outcome(t, b, nil)
			} else {
				outcome(t, b, errDown)
			}
		}
		assert.Equal(t, circuit.Open, b.state())
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
		assert.Equal(t, circuit.Closed, b.state())
	})
}

func TestBreakerCountsOnlyFailuresOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := watchedBreaker()
		for _, err := range []*Failure{errRefused, errSlow, errHurried} {
			for range 30 {
				outcome(t, b, err)
			}
		}
		assert.Equal(t, circuit.Closed, b.state())
		assert.Empty(t, *changes)
	})
}

func TestBreakerProbesWithOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, changes := watchedBreaker()
		for range breakerConsecutive {
			outcome(t, b, errDown)
		}
		time.Sleep(Pause + time.Millisecond)
		assert.Equal(t, circuit.HalfOpen, b.state())

		probe, err := b.allow()
		require.Nil(t, err)
		_, err = b.allow()
		require.NotNil(t, err, "only one request may probe")
		probe(errHurried)
		assert.Equal(t, circuit.HalfOpen, b.state(), "a caller that gave up says nothing of the server")

		outcome(t, b, errDown)
		assert.Equal(t, circuit.Open, b.state())
		time.Sleep(Pause + time.Millisecond)
		outcome(t, b, nil)
		assert.Equal(t, circuit.Closed, b.state())
		assert.Equal(t, []circuit.State{circuit.Open, circuit.HalfOpen, circuit.Open, circuit.HalfOpen, circuit.Closed}, *changes)
	})
}

func TestBreakerMayBeUsedWhereItsChangesAreReported(t *testing.T) {
	var b *breaker
	var seen []circuit.State
	b = newBreaker(func(circuit.State) { seen = append(seen, b.state()) })
	for range breakerConsecutive {
		outcome(t, b, errDown)
	}
	assert.Equal(t, []circuit.State{circuit.Open}, seen)
}

// A panic of the observer leaves the breaker able to close again.
func TestBreakerSurvivesPanicsOfTheObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := false
		b := newBreaker(func(circuit.State) {
			if panics {
				panics = false
				panic("observer")
			}
		})
		for range breakerConsecutive {
			done, err := b.allow()
			require.Nil(t, err)
			done(&Failure{Class: Transient, Cause: errors.New("down")})
		}
		require.Equal(t, circuit.Open, b.state())
		time.Sleep(Pause + time.Millisecond)
		panics = true
		assert.Panics(t, func() { _, _ = b.allow() }, "as it begins to probe the server")
		done, err := b.allow()
		require.Nil(t, err, "the next message probes it")
		done(nil)
		assert.Equal(t, circuit.Closed, b.state())
	})
}

// Changes are reported in order, even if the report of one takes long.
func TestBreakerTellsChangesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported []circuit.State
		b := newBreaker(func(state circuit.State) {
			if state == circuit.Open {
				time.Sleep(3 * Pause)
			}
			reported = append(reported, state)
		})
		fail := func() {
			done, err := b.allow()
			require.Nil(t, err)
			done(&Failure{Class: Transient, Cause: errors.New("down")})
		}
		for range breakerConsecutive - 1 {
			fail()
		}
		go fail() // which tells that it is open
		time.Sleep(2 * Pause)
		done, err := b.allow()
		require.Nil(t, err)
		done(nil)
		time.Sleep(3 * Pause)
		synctest.Wait()
		assert.Equal(t, []circuit.State{circuit.Open, circuit.HalfOpen, circuit.Closed}, reported)
	})
}
