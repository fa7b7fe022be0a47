package core

import (
	"math/rand/v2"
	"time"
)

// Bounds of the pauses between the attempts to deliver a stored message.
const (
	backoffBase = time.Second
	backoffMax  = 5 * time.Minute
	// backoffMin keeps a message that drew a pause of nearly nothing from
	// being tried again at once.
	backoffMin = 50 * time.Millisecond
	// unknownTopicBase is the base for messages of a topic that the server
	// does not have: only a person or another app can change that.
	unknownTopicBase = 10 * time.Second
)

// backoff draws the pause before the next attempt, after so many: full
// jitter below a ceiling that doubles from 1 s to 5 min, so that the
// messages of many processes do not come back all at once.
func backoff(attempts int) time.Duration { return backoffFrom(backoffBase, attempts) }

func backoffFrom(base time.Duration, attempts int) time.Duration {
	ceiling := base
	for range attempts - 1 {
		if ceiling *= 2; ceiling >= backoffMax {
			ceiling = backoffMax
			break
		}
	}
	return max(rand.N(ceiling), backoffMin)
}
