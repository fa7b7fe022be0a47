package core

import (
	"sync"
	"time"
)

// Minute counts what became of messages in a minute.
type Minute struct {
	// Begin is when the minute began. Minutes are counted from the making of
	// the client on, not by the clock on the wall.
	Begin time.Time
	// Delivered is how many messages the server has taken, by a request or by
	// its rescuer.
	Delivered int
	// Stored is how many messages went to the outbox because they could not
	// be delivered. They are counted again when they are delivered or dead.
	Stored int
	// Dead is how many messages the server refused for good.
	Dead int
}

// minutes is how many minutes are remembered.
const minutes = 60

// throughput counts, for each of the last minutes, what became of messages.
// It is asked once a request, not once a message.
type throughput struct {
	born time.Time

	mu sync.Mutex
	// ring holds the minute n, counted from born, at n % minutes.
	ring [minutes]counted
}

// counted is what is counted in the minute of a number.
type counted struct {
	number                  int
	delivered, stored, dead int
}

// now is the number of the minute.
func (t *throughput) now() int { return int(time.Since(t.born) / time.Minute) }

// add counts messages in the minute.
func (t *throughput) add(delivered, stored, dead int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.now()
	minute := &t.ring[number%minutes]
	if minute.number != number {
		*minute = counted{number: number}
	}
	minute.delivered += delivered
	minute.stored += stored
	minute.dead += dead
}

// LastHour tells what became of messages in each of the last 60 minutes, the
// oldest first; the last one is not over yet. Minutes before the client was
// made are left out. It counts what this client did: other processes that
// share its outbox count for themselves.
func (c *Client) LastHour() []Minute {
	if c == nil {
		return nil
	}
	t := &c.throughput
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.now()
	began := time.Now().Add(-time.Since(t.born)) // by the clock of today, which may have been set
	var hour []Minute
	for number := max(last-minutes+1, 0); number <= last; number++ {
		minute := Minute{Begin: began.Add(time.Duration(number) * time.Minute)}
		if kept := t.ring[number%minutes]; kept.number == number {
			minute.Delivered, minute.Stored, minute.Dead = kept.delivered, kept.stored, kept.dead
		}
		hour = append(hour, minute)
	}
	return hour
}
