// Package relay delivers the messages in an outbox to the server, and the
// messages in an inbox to the app's handlers. Whenever slots become free, it
// claims as many rows as these can carry, topic by topic. It posts rows that
// can share a request together, or handles them one by one, and then settles
// them. It holds no transaction while it does so. If the process dies, the
// leases of claimed rows expire. The package knows a store and how to deliver a
// batch or a row.
package relay

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of the relay.
const (
	// poll is how often the outbox is polled for messages that another process
	// has stored.
	poll = 2 * time.Second
	// expectMin is how soon after PublishTx the outbox is polled again. Each
	// further pause is as long as the time since PublishTx.
	expectMin = time.Millisecond
	// lockedPause is the pause when rows are due but cannot be claimed.
	lockedPause = 200 * time.Millisecond
	// errorPauseMax bounds the pause after an error of the outbox: a recovered
	// database is used again within seconds.
	errorPauseMax = 3 * time.Second
	// slice is how long a slot posts rows with separate requests before another
	// topic may use it. A request in progress is completed.
	slice = 250 * time.Millisecond
	// maxRows and maxBytes are the limits of rows that wait for slots.
	maxRows  = 20_000
	maxBytes = 4 * deliver.MaxBytes
	// maxBacklog is the maximum number of topics that wait for their first
	// slot; then no more are claimed.
	maxBacklog = 512
	// slowMemory is how long a topic counts as slow after a post timed out,
	// unless another post succeeds in time.
	slowMemory = time.Minute
	// maxTogether is the maximum number of posts that are settled together, and
	// of posts that wait to be settled.
	maxTogether = 256
	// maxTogetherRows is the number of rows at which a settlement is full,
	// because the outbox must complete it in time.
	maxTogetherRows = 2000
	// maxSingles is the maximum number of rows with separate requests in a
	// slot.
	maxSingles = 100
)

// Config configures a relay.
type Config struct {
	Store outbox.Store
	// Settler settles the rows that were posted.
	Settler *Settler
	// Deliver posts a batch. It must not panic.
	Deliver func(ctx context.Context, job deliver.Job) *deliver.Outcome
	// Delivered is called with the rows that the server has accepted.
	Delivered func(deliver.Delivered)
	// Handle handles one row. It replaces Deliver and Delivered, which are then
	// nil. It returns a nil failure if the row is done, and settled if the row
	// has already left the store. It must not panic.
	Handle func(ctx context.Context, record outbox.Record) (failure *office.Failure, settled bool)
	// Skipped returns topics whose rows are not claimed now; nil for none.
	Skipped func() []string
	// Breaker returns the state of the circuit breaker.
	Breaker func() circuit.State
	// MaxTime is the maximum time of one request, or of Handle.
	MaxTime time.Duration
	// MinLease is the minimum lease of claimed rows.
	MinLease time.Duration
	// Slots is the number of concurrent posts, and PerTopic the maximum for one
	// topic while others have rows. With Reserved, PerTopic always applies,
	// which leaves a slot for a new topic while one topic is alone.
	Slots, PerTopic int
	Reserved        bool
	// BulkLimit is the maximum number of rows of a topic that one claim takes
	// for one slot.
	BulkLimit int
	// MaxUnsettled is how many rows may be posted and not settled yet. Defaults
	// to BulkLimit.
	MaxUnsettled int
	// Rate is the maximum number of rows to claim per second; zero for no
	// limit.
	Rate int
	// Guard calls a function and returns an error if it panics.
	Guard func(doing string, call func() error) error
	Log   *loglimit.Logger
}

// Relay delivers the messages in an outbox. A nil Relay, of a client without an
// outbox, does nothing.
type Relay struct {
	Config
	wake chan struct{}

	settling settling
	flushes  flushes
	handed   handed
	handing  chan struct{} // wakes the dispatcher for handed rows

	mu sync.Mutex
	// expecting is the time since which messages of a transaction are expected;
	// zero if none are.
	expecting time.Time
}

// New returns a relay. It delivers while Run runs.
func New(config Config) *Relay {
	return &Relay{Config: config, wake: make(chan struct{}, 1), handing: make(chan struct{}, 1)}
}

// Wake makes the relay poll the outbox now. It never blocks.
func (r *Relay) Wake() {
	if r == nil {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// RemoveLater deletes messages before the next claim. They were delivered, but
// the outbox may also have stored them.
func (r *Relay) RemoveLater(ids []string) { r.Settler.removeLater(ids, removal{}) }

// Expect makes the relay poll for a message that a transaction is about to
// commit: at once, and then at growing intervals.
func (r *Relay) Expect() {
	r.mu.Lock()
	r.expecting = time.Now()
	r.mu.Unlock()
	r.Wake()
}

// expected shortens a pause while messages of a transaction are expected.
func (r *Relay) expected(pause time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expecting.IsZero() {
		return pause
	}
	waited := max(time.Since(r.expecting), expectMin)
	if waited >= poll {
		r.expecting = time.Time{}
	}
	return min(pause, waited)
}

// Lease returns the lease of claimed rows. It leaves time to begin several
// requests before the margin.
func (r *Relay) Lease() time.Duration { return max(r.MinLease, 2*r.margin()) }

// margin is the time between the latest start of a request and the end of the
// lease: the longest request, plus the time to store its outcome.
func (r *Relay) margin() time.Duration { return r.MaxTime + StoreTimeout }

// PostUntil returns the time until which requests may begin with rows that were
// leased at the given time.
func (r *Relay) PostUntil(leased time.Time) time.Time { return leased.Add(r.Lease() - r.margin()) }

// Run delivers until stopping is done, and returns when the posts in progress
// have ended. They are aborted when force is done.
func (r *Relay) Run(stopping, force context.Context) {
	d := newDispatcher(stopping, force, r)
	var settler sync.WaitGroup
	settler.Go(func() { r.settle(force, d.settlements) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for stopping.Err() == nil {
		var pause time.Duration
		err := r.Guard("the relay", func() (err error) {
			pause, err = d.turn()
			return err
		})
		switch {
		case err == nil:
			failures = 0
		case stopping.Err() != nil:
		default:
			failures++
			pause = min(deliver.Backoff(failures), errorPauseMax)
			d.nextClaim = time.Now().Add(pause)
			d.failing = true
			r.Log.Error("store", "", "the "+r.Settler.config.Name+" is not available; its messages wait", "error", err)
		}
		d.flush()
		timer.Reset(max(pause, 0))
		select {
		case <-stopping.Done():
		case <-timer.C:
		case p := <-d.done:
			d.ended(p)
		case <-r.wake:
			d.nextClaim = time.Time{}
		case <-d.handing:
		}
		d.flush()
	}
	d.finish()
	close(d.settlements)
	settler.Wait()
}

// settle settles the rows of ended posts until the channel is closed. It
// settles rows together that arrive while the outbox is busy.
func (r *Relay) settle(ctx context.Context, settlements <-chan Settlement) {
	for first := range settlements {
		together, rows := []Settlement{first}, len(first.Rows)
		for more := true; more && len(together) < maxTogether && rows < maxTogetherRows; {
			select {
			case next, ok := <-settlements:
				if more = ok; ok {
					together, rows = append(together, next), rows+len(next.Rows)
				}
			default:
				more = false
			}
		}
		_ = r.Guard("the relay", func() error {
			if r.Settler.Settle(ctx, together...) {
				r.Wake() // to find out when they are due again
			}
			return nil
		})
		if r.settling.done(len(together), rows) {
			r.Wake()
		}
	}
}

// reserveSettling waits while too many rows are posted and not settled yet,
// because a kill would deliver them twice.
func (r *Relay) reserveSettling(rows int) {
	r.settling.reserve(rows, cmp.Or(r.MaxUnsettled, r.BulkLimit))
}

// settling counts the rows that are posted and not settled yet. The zero value
// is ready to use.
type settling struct {
	mu    sync.Mutex
	rows  int
	freed chan struct{} // closed when rows were settled; nil if nobody waits
	// begun and ended count settlements.
	begun, ended int
	// awaited is how many settlements must have ended for a flush; zero if none
	// waits.
	awaited int
}

// reserve adds rows. It waits until they are within the limit, or there are no
// others.
func (s *settling) reserve(rows, limit int) {
	for {
		s.mu.Lock()
		if s.rows == 0 || s.rows+rows <= limit {
			s.rows += rows
			s.begun++
			s.mu.Unlock()
			return
		}
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		<-freed
	}
}

// done subtracts settled rows, and reports whether a flush waits for that.
func (s *settling) done(settlements, rows int) (awaited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows -= rows
	s.ended += settlements
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
	if awaited = s.awaited > 0 && s.ended >= s.awaited; awaited {
		s.awaited = 0
	}
	return awaited
}

// count returns the number of settlements that have begun.
func (s *settling) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// reached reports whether the given number of settlements have ended. If not,
// done will report it.
func (s *settling) reached(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended >= n {
		return true
	}
	if s.awaited == 0 || n < s.awaited {
		s.awaited = n
	}
	return false
}
