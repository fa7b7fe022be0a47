package sqltable

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// attempts is how often a call is tried that the database chooses to give way, or
// that finds no server that takes it.
const attempts = 10

// Pauses between attempts: each is random, up to a bound that doubles.
const (
	firstPause = 2 * time.Millisecond
	longPause  = 100 * time.Millisecond
)

// Retry runs a function, and runs it again where that may help: after a conflict,
// or with another connection after one was of no use, a number of times; and as
// long as the context lasts while SQLite's file is locked. The function takes
// effect as a whole or not at all, starts afresh each time, and may be run again
// when it has taken effect and the answer was lost.
//
// Connections that were open at the first failure may all be of no use. They are
// tried one after the other, without a pause, beside that number of times.
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
