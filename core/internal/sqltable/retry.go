package sqltable

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// conflictAttempts is how often a transaction is tried that the database
// chooses to give way.
const conflictAttempts = 10

// Pauses between attempts: each is random, up to a bound that doubles.
const (
	firstPause = 2 * time.Millisecond
	longPause  = 100 * time.Millisecond
)

// Retry runs a function, and runs it again where the database asks for that:
// after a conflict a number of times, and as long as the context lasts while
// SQLite's file is locked. The function takes effect as a whole or not at all,
// and starts afresh each time.
func (d Dialect) Retry(ctx context.Context, run func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil {
			return nil
		}
		switch d.Classify(err) {
		case Busy:
		case Conflict:
			if attempt == conflictAttempts {
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
