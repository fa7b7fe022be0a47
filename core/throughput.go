package core

import (
	"sync"
	"time"
)

// Minute counts the outcomes of messages in a minute.
type Minute struct {
	// Begin is the start of the minute. Minutes are counted from the creation
	// of the client, not aligned to the wall clock.
	Begin time.Time
	// Delivered is the number of messages that the server has accepted, in a
	// request or through its rescuer.
	Delivered int
	// Stored is the number of messages stored in the outbox because they could
	// not be delivered. They are counted again when they are delivered or dead.
	Stored int
	// Dead is the number of messages that the server refused permanently.
	Dead int
}

// minutes is the number of remembered minutes.
const minutes = 60

// throughput counts the outcomes of messages for each of the last minutes. It
// is updated once per request, not once per message.
type throughput struct {
	born time.Time

	mu sync.Mutex
	// ring holds minute n, counted from born, at index n % minutes.
	ring [minutes]counted
}

// counted holds the counts of one minute.
type counted struct {
	number                  int
	delivered, stored, dead int
}

// now returns the number of the current minute.
func (t *throughput) now() int { return int(time.Since(t.born) / time.Minute) }

// add counts messages in the current minute.
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

// LastHour returns the outcomes of messages in each of the last 60 minutes, the
// oldest first; the last minute is not complete. Minutes before the creation of
// the client are omitted. Only messages of this client are counted, not those
// of other processes that share its outbox.
func (c *Client) LastHour() []Minute {
	if c == nil {
		return nil
	}
	t := &c.events.throughput
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.now()
	began := time.Now().Add(-time.Since(t.born)) // by the current wall clock, which may have been adjusted
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
