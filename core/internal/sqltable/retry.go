package sqltable

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// attempts is the maximum number of attempts of a call after conflicts or on unfit
// servers.
const attempts = 10

// Pauses between attempts: random, up to a bound that doubles.
const (
	firstPause = 2 * time.Millisecond
	longPause  = 100 * time.Millisecond
)

// Retry runs a function and repeats it where that may help: a number of times after
// a conflict or with another connection after an unusable one, and until the context
// ends while SQLite's file is locked. The function must be atomic and start from
// scratch each time, and may be repeated after it has taken effect and the answer
// was lost.
//
// All connections that were open at the first failure may be unusable. They are
// tried one after another without a pause, in addition to that number of attempts.
func (p *Pool) Retry(ctx context.Context, run func() error) error {
	pause := firstPause
	stale := -1
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil {
			return nil
		}
		switch p.Dialect.Classify(err) {
		case Busy:
		case Conflict:
			p.conflicts.Add(1)
			if attempt == attempts {
				return err
			}
		case Unfit, Lost:
			p.failovers.Add(1)
			if stale < 0 {
				stale = p.Stats().OpenConnections
			}
			if _, unconnected := errors.AsType[connectError](err); !unconnected && stale > 0 && ctx.Err() == nil {
				stale--
				attempt--
				continue
			}
			if attempt == attempts {
				return err
			}
		default:
			return err
		}
		timer := time.NewTimer(rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		pause = min(2*pause, longPause)
	}
}
