package sqldedup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Pauses between attempts: each is random, up to a bound that doubles.
const (
	firstPause = 2 * time.Millisecond
	longPause  = 100 * time.Millisecond
)

// conflictAttempts is how often a statement is tried that the database
// chooses to give way.
const conflictAttempts = 10

// change runs a statement and returns how many rows it changed.
func (s *Store) change(ctx context.Context, statement string) (n int, err error) {
	err = s.retry(ctx, func() error {
		result, err := s.db.ExecContext(ctx, statement)
		if err != nil {
			return err
		}
		changed, err := result.RowsAffected()
		n = int(changed)
		return err
	})
	return n, err
}

// retry runs a statement again where the database asks for that: after a
// conflict a number of times, and as long as the context lasts on an SQLite
// file that is locked. Each statement is a transaction, so a failed one has
// changed nothing.
func (s *Store) retry(ctx context.Context, run func() error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil {
			return nil
		}
		if !locked(err) && (!conflict(err) || attempt == conflictAttempts) {
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

// conflict tells whether the database chose a statement to give way to
// another: by the method SQLState of the drivers for PostgreSQL, and by the
// text of MySQL's errors for a deadlock and a lock that was waited for.
func conflict(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState() == "40001" || state.SQLState() == "40P01"
	}
	text := err.Error()
	return strings.HasPrefix(text, "Error 1213") || strings.HasPrefix(text, "Error 1205") || strings.HasPrefix(text, "Error 1020")
}

// locked tells whether an SQLite file is locked by another connection.
func locked(err error) bool {
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked")
}

// wrap says what failed. If the context has ended, that is the reason,
// whatever the driver says.
func (s *Store) wrap(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("sqldedup: %s: table %s: %w", what, s.table, err)
}
