package postofficetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Cost is how long a server and its database work on POST requests. The zero Cost
// takes no time. See [RealisticCost].
type Cost struct {
	// Cores is how many requests are processed at a time; others wait for their turn
	// in the order of arrival. Zero means no limit.
	Cores int
	// Request is the cost of a POST, whatever it contains, and Message the
	// additional cost of each message in it.
	Request, Message time.Duration
	// Megabyte is the cost of 1,000,000 bytes of body. Large messages cost more than
	// proportionally: LargeMessage is the additional cost of a message of 1 MB,
	// which grows with the square of the message's size.
	Megabyte, LargeMessage time.Duration
	// LongInteger is the cost of an integer of 100,000 digits, which grows with the
	// square of the number of digits.
	LongInteger time.Duration
}

// RealisticCost returns the cost as measured for Postoffice 0.19.0 with PostgreSQL
// 15 on a machine with 2 cores, with one consumer of the topic (2026-11-26):
//
//	                                       measured      this Cost
//	a POST of a small message              1.7 ms        1.7 ms
//	a small message in a bulk of 500       0.14 ms       0.14 ms
//	a message of small objects of 1 MB     0.3 s         0.3 s
//	  2 MB                                 0.5 s         0.7 s
//	  3 MB                                 1.1 s         1.2 s
//	  6.9 MB                               3.9 s         3.9 s
//	an integer of 5,000 digits             9 ms          9 ms
//	  50,000 digits                        1 s           0.9 s
//	  131,000 digits                       5 to 8 s      6.2 s
//	  300,000 digits, which is refused     16 s          16 s
//
// It does not include the cost of additional consumers, of deliveries and of the
// rescuer. A bulk of large messages was not measured.
func RealisticCost() Cost {
	return Cost{
		Cores:        2,
		Request:      1560 * time.Microsecond,
		Message:      140 * time.Microsecond,
		Megabyte:     255 * time.Millisecond,
		LargeMessage: 45 * time.Millisecond,
		LongInteger:  3600 * time.Millisecond,
	}
}

// WithCost makes POST requests take time, as on a real server: the answer comes when
// the work is done, and a message is accepted even if its client has given up in the
// meantime. The time is that of the wall clock or of a bubble of testing/synctest.
// The default is no time.
//
//	server := postofficetest.Start(t, postofficetest.WithCost(postofficetest.RealisticCost()))
//
// With the following Cost, a request occupies one of 2 workers for 1.5 ms, and for
// 0.12 ms for each payload in it, regardless of size:
//
//	postofficetest.Cost{Cores: 2, Request: 1500 * time.Microsecond, Message: 120 * time.Microsecond}
func WithCost(cost Cost) Option {
	return func(s *settings) error {
		if least := min(cost.Request, cost.Message, cost.Megabyte, cost.LargeMessage, cost.LongInteger); least < 0 || cost.Cores < 0 {
			return fmt.Errorf("WithCost of %+v, with a value below zero", cost)
		}
		s.cost = cost
		return nil
	}
}

// of returns the cost of a request with these parameters.
func (c Cost) of(path []string, body []byte, parameters map[string]json.RawMessage) time.Duration {
	const megabyte = 1e6
	cost := float64(c.Request) + float64(c.Megabyte)*float64(len(body))/megabyte
	messages := []json.RawMessage{body}
	switch payload := parameters["payload"]; {
	case len(path) != 2 || payload == nil:
		messages = nil
	case "/"+path[0]+"/"+path[1] == wire.BulkPath && kindOf(payload) == '[':
		messages = itemsOf(payload)
	}
	cost += float64(c.Message) * float64(len(messages))
	for _, message := range messages {
		size := float64(len(message)) / megabyte
		cost += float64(c.LargeMessage) * size * size
	}
	for _, value := range parameters {
		for digits := range longIntegers(value) {
			share := float64(digits) / 100_000
			if digits > maxDigits {
				share /= sqrt2 // it is read, and not stored
			}
			cost += float64(c.LongInteger) * share * share
		}
	}
	return time.Duration(max(cost, 0))
}

// sqrt2 halves a cost that grows with the square.
const sqrt2 = 1.4142135623730951

// longIntegers yields the numbers of digits of the integers in valid JSON, except
// for the ones that cost nothing.
func longIntegers(text json.RawMessage) func(yield func(digits int) bool) {
	const short = 100
	return func(yield func(int) bool) {
		if len(text) < short {
			return
		}
		for i := 0; i < len(text); {
			switch c := text[i]; {
			case c == '"':
				i = stringEnd(text, i)
			case c == '-' || c >= '0' && c <= '9':
				end := scalarEnd(text, i)
				if digits := digitsOf(text[i:end]); digits >= short && !yield(digits) {
					return
				}
				i = end
			default:
				i++
			}
		}
	}
}

// cores are shared by requests.
type cores struct {
	mu   sync.Mutex
	free []time.Time // when each of them is free again
	// owed is the work that is not done yet. No request waits for more: times from
	// another bubble of testing/synctest have no meaning in this one.
	owed time.Duration
}

// take reserves the core that becomes free first, and returns how long the work
// takes including the wait for the core.
func (c *cores) take(count int, now time.Time, cost time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if count < 1 {
		return cost
	}
	if len(c.free) != count {
		c.free = make([]time.Time, count)
	}
	first := 0
	for i, free := range c.free {
		if free.Before(c.free[first]) {
			first = i
		}
	}
	begin := c.free[first]
	if begin.Before(now) || begin.Sub(now) > c.owed {
		begin = now
	}
	c.free[first] = begin.Add(cost)
	c.owed += cost
	return c.free[first].Sub(now)
}

// done reports that the work was done or will never be.
func (c *cores) done(cost time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed -= cost
}

// spend waits for the time that a request costs. It continues without the client,
// and ends the request only if Stop or Close cut its connection. Without a
// connection, the rest of the work is done at once when the client gives up, because
// a bubble of testing/synctest cannot end before it.
func (s *Server) spend(r *http.Request, cost time.Duration) {
	if cost <= 0 {
		return
	}
	wait := s.cores.take(s.settings.cost.Cores, time.Now(), cost)
	defer s.cores.done(cost)
	client, connection := r.Context(), connectionOf(r)
	if connection != nil {
		client = context.WithoutCancel(client)
	}
	ctx, cancel := context.WithTimeout(client, wait)
	defer cancel()
	cut := func() bool { return connection.cut() }
	err := s.follow(ctx, cut)
	if cut() || errors.Is(err, ErrClosed) {
		panic(http.ErrAbortHandler)
	}
}
