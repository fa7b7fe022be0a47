package testdb

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	eachEngine(t, func(t *testing.T, kind kind) {
		server := kind.own(t, WithClock())
		dsn := server.Create(t)
		db := open(t, dsn)
		db.SetMaxOpenConns(1)
		// ahead tells how far the server's clock is ahead of the machine's.
		ahead := func() time.Duration {
			before := time.Now()
			answer := kind.ask(t, db, "SELECT EXTRACT(EPOCH FROM clock_timestamp())", "SELECT UNIX_TIMESTAMP(NOW(6))")
			seconds, err := strconv.ParseFloat(answer, 64)
			require.NoError(t, err)
			return time.UnixMicro(int64(seconds * 1e6)).Sub(before)
		}
		const tolerance = float64(10 * time.Second) // on a busy machine
		assert.InDelta(t, 0, ahead(), tolerance)
		for _, offset := range []time.Duration{10 * time.Minute, -10 * time.Minute, 0, 90*time.Second + 500*time.Millisecond} {
			server.SetClock(t, offset)
			assert.InDelta(t, offset, ahead(), tolerance, "a connection that was there before")
		}
		// The clock runs: it has not been stopped at a time.
		first := ahead()
		kind.ask(t, db, "SELECT pg_sleep(0.2)::text", "SELECT SLEEP(0.2)")
		assert.InDelta(t, first, ahead(), float64(150*time.Millisecond))

		server.Kill(t)
		server.SetClock(t, time.Hour)
		server.Start(t)
		db = open(t, dsn)
		assert.InDelta(t, time.Hour, ahead(), tolerance)
	})
}

func TestClockOfTheMachine(t *testing.T) {
	server := Postgres(t)
	outcome := observe(t, func(tb testing.TB) { server.SetClock(tb, time.Minute) })
	assert.Equal(t, "failed", outcome.how)
	assert.Contains(t, outcome.message, "WithClock")
}
