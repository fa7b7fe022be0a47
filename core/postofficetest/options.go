package postofficetest

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// bodySlack is how far a body may exceed the server's limit before it is rejected:
// the server checks the limit between reads of this size.
const bodySlack = 1 << 16

// settings are the values that options set.
type settings struct {
	realTime  bool
	now       time.Time
	second    time.Duration
	bulkLimit int
	bodyLimit int
	history   int
	maxGap    time.Duration
	front     func(*Server) http.Handler
	records   []Record
	cost      Cost
}

// Option changes the behaviour of a [Server]. The constructors fail if an option is
// nil or has an invalid value.
type Option func(*settings) error

// settingsOf applies options to the defaults. The error names the option.
func settingsOf(options []Option) (settings, error) {
	chosen := settings{
		second:    time.Second,
		bulkLimit: wire.MaxBulk,
		bodyLimit: wire.MaxBody + bodySlack,
	}
	for i, option := range options {
		if option == nil {
			return settings{}, fmt.Errorf("postofficetest: options[%d] is nil", i)
		}
		if err := option(&chosen); err != nil {
			return settings{}, fmt.Errorf("postofficetest: %w", err)
		}
	}
	return chosen, nil
}

// atLeast sets a field to a value, or returns an error if the value is below its
// bound.
func atLeast[T cmp.Ordered](bound T, option string, field *T, value T) error {
	if value < bound {
		return fmt.Errorf("%s of %v, below %v", option, value, bound)
	}
	*field = value
	return nil
}

// WithRealTime makes the server's clock follow the wall clock, for programs:
// retries, scheduled messages and the rescuer happen by themselves.
func WithRealTime() Option {
	return func(s *settings) error {
		s.realTime = true
		return nil
	}
}

// WithNow sets the initial time of the clock; the default is the wall clock's time
// when the server starts. It has no effect together with WithRealTime.
func WithNow(now time.Time) Option {
	return func(s *settings) error {
		s.now = now
		return nil
	}
}

// WithSecond sets how long, by the wall clock, the server waits for each second of a
// timeout of its own requests (a consumer's seconds_timeout, the rescuer's 5 s). The
// default is one second; less shortens tests with consumers or origin hosts that do
// not answer.
func WithSecond(d time.Duration) Option {
	return func(s *settings) error { return atLeast(0, "WithSecond", &s.second, d) }
}

// WithBulkLimit sets the maximum number of payloads in a bulk request, to simulate
// an older server with a lower limit. The default is 3000.
func WithBulkLimit(n int) Option {
	return func(s *settings) error { return atLeast(0, "WithBulkLimit", &s.bulkLimit, n) }
}

// WithBodyLimit sets the maximum size, in bytes, of the body of a JSON or form
// request, to simulate a proxy with a lower limit; a larger one is answered with
// 413. The default is the server's own limit, a little over 8,000,000.
func WithBodyLimit(bytes int) Option {
	return func(s *settings) error { return atLeast(0, "WithBodyLimit", &s.bodyLimit, bytes) }
}

// WithHistory bounds what the server remembers, for long-lived programs: at least
// the last n requests, messages, jobs, deliveries and rescuer runs each, and at most
// twice as many. Unsettled jobs are never forgotten. The default, zero, keeps
// everything.
func WithHistory(n int) Option {
	return func(s *settings) error { return atLeast(0, "WithHistory", &s.history, n) }
}
