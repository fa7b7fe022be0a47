package postofficetest

import (
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// bodySlack is how far a body may exceed the server's limit before it is
// refused: the server looks at the limit between reads of this size.
const bodySlack = 1 << 16

// settings is what the options set.
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

// Option changes how a [Server] behaves.
type Option func(*settings)

// settingsOf applies the options to the defaults.
func settingsOf(options []Option) settings {
	chosen := settings{
		second:    time.Second,
		bulkLimit: wire.MaxBulk,
		bodyLimit: wire.MaxBody + bodySlack,
	}
	for _, option := range options {
		if option != nil {
			option(&chosen)
		}
	}
	return chosen
}

// WithRealTime lets the server's clock follow the wall clock, for programs:
// retries, scheduled messages and the rescuer happen by themselves.
func WithRealTime() Option { return func(s *settings) { s.realTime = true } }

// WithNow sets the time at which the clock stands at first; the default is
// the wall clock's time when the server starts. It has no effect together
// with WithRealTime.
func WithNow(now time.Time) Option { return func(s *settings) { s.now = now } }

// WithSecond sets how long, by the wall clock, the server waits for each
// second of a timeout of its own requests (a consumer's seconds_timeout, the
// rescuer's 5 s). Default one second; less shortens tests with consumers or
// origin hosts that do not answer.
func WithSecond(d time.Duration) Option { return func(s *settings) { s.second = max(d, 0) } }

// WithBulkLimit sets how many payloads a bulk request may carry, as an older
// server that takes fewer. Default 3000.
func WithBulkLimit(n int) Option { return func(s *settings) { s.bulkLimit = n } }

// WithBodyLimit sets how many bytes of body a JSON or form request may have,
// as a proxy that takes less; one more is answered with 413. The default is
// the server's own limit, a little over 8,000,000.
func WithBodyLimit(bytes int) Option { return func(s *settings) { s.bodyLimit = max(bytes, 0) } }

// WithHistory bounds what the server remembers, for long-lived programs: at
// least the last n requests, messages, jobs, deliveries and rescuer runs, at
// most twice as many, each. Jobs that are still to be delivered are never
// forgotten. The default, zero, keeps everything.
func WithHistory(n int) Option { return func(s *settings) { s.history = max(n, 0) } }
