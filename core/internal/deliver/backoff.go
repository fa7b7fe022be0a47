package deliver

import (
	"math/rand/v2"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/office"
)

// Bounds of the pauses between attempts to deliver a stored message.
const (
	backoffBase = time.Second
	backoffMax  = 5 * time.Minute
	// backoffMin is the minimum pause, because full jitter can be near zero.
	backoffMin = 50 * time.Millisecond
	// misconfiguredBase is the base for failures that only a person or another
	// app can resolve, such as a topic that the server does not have.
	misconfiguredBase = 10 * time.Second
)

// Backoff returns a random pause before the next attempt, after the given
// number of attempts. It uses full jitter below a ceiling that doubles from 1 s
// to 5 min, which spreads the retries of many processes.
func Backoff(attempts int) time.Duration { return Jitter(backoffBase, backoffMax, attempts) }

// BackoffOf is Backoff after a failure. It adds the pause to the server's
// Retry-After, which spreads the retries of the messages of one request: one of
// them may have caused the failure.
func BackoffOf(f *office.Failure, attempts int) time.Duration {
	base := backoffBase
	if f.Class == office.UnknownTopic || f.Class == office.Misconfigured {
		base = misconfiguredBase
	}
	return f.RetryAfter + Jitter(base, backoffMax, attempts)
}

// FirstBackoff returns a random pause before messages that failed for the first
// time are retried from the outbox. It is at least the server's Retry-After.
func FirstBackoff(failures []*office.Failure) time.Duration {
	pause := Backoff(1)
	for _, f := range failures {
		if f != nil {
			pause = max(pause, f.RetryAfter)
		}
	}
	return pause
}

// Jitter returns a random pause after the given number of attempts: full jitter
// below a ceiling that doubles from base to limit.
func Jitter(base, limit time.Duration, attempts int) time.Duration {
	ceiling := base
	for range attempts - 1 {
		if ceiling *= 2; ceiling >= limit {
			ceiling = limit
			break
		}
	}
	return max(rand.N(ceiling), backoffMin)
}
