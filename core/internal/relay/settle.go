package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of writes to the outbox.
const (
	// StoreTimeout bounds a call to the outbox.
	StoreTimeout = 5 * time.Second
	// storeTries is the number of consecutive attempts to write a result to the
	// outbox.
	storeTries = 3
	// missingPause is the pause before rows that a delete did not find are
	// deleted again.
	missingPause = time.Second
)

// Row identifies a posted message in the outbox.
type Row struct {
	ID string
	// Token is the token of the lease under which the row was posted.
	Token string
	// Attempts is the number of attempts, including the last one.
	Attempts int
}

// SettlerConfig configures a settler. All fields are required.
type SettlerConfig struct {
	Store outbox.Store
	// Name is the name of the store in log lines: "outbox" or "inbox".
	Name string
	// Backoff returns the pause before a row that failed, or was not sent, is
	// retried after the given number of attempts.
	Backoff func(f *office.Failure, attempts int) time.Duration
	// Guard calls a function and returns an error if it panics.
	Guard func(doing string, call func() error) error
	Log   *loglimit.Logger
	Tell  Tell
}

// Tell has the callbacks for outcomes of rows. All functions are required.
type Tell struct {
	// Failed reports messages that failed and are retried.
	Failed func(topic string, failures []*office.Failure, fromOutbox bool)
	// Dead reports messages that the server has refused permanently.
	Dead func(topic string, messages int, cause error, fromOutbox bool)
}

// Settler writes the outcomes of posted rows to the outbox, for the relay and
// the queue. It is safe for concurrent use.
type Settler struct {
	config SettlerConfig

	mu sync.Mutex
	// delivered holds the IDs of delivered rows that could not be deleted yet,
	// or were not found.
	delivered map[string]removal
	// inHand holds the IDs of claimed rows that are neither settled nor given
	// back.
	inHand map[string]bool
}

// NewSettler returns a settler.
func NewSettler(config SettlerConfig) *Settler {
	return &Settler{config: config, delivered: map[string]removal{}, inHand: map[string]bool{}}
}

// Backoff returns the pause before a message that the server has not accepted
// is sent again, after the given number of attempts.
func Backoff(f *office.Failure, attempts int) time.Duration {
	if f.Untried || f.Interrupted {
		return deliver.Backoff(1)
	}
	return deliver.BackoffOf(f, attempts)
}

// removal is a pending deletion.
type removal struct {
	at time.Time
	// last means that it is not repeated if the row is not found.
	last bool
}

// Settlement holds posted rows of one topic and their outcome.
type Settlement struct {
	Topic   string
	Rows    []Row
	Outcome *deliver.Outcome
	// FromOutbox means that the rows were claimed from the outbox.
	FromOutbox bool
}

// Settle writes the outcomes of posts, and reports whether rows will be
// retried.
func (s *Settler) Settle(ctx context.Context, settlements ...Settlement) (again bool) {
	var delivered []string
	var changes []outbox.Change
	burials := map[string][]outbox.Change{}
	for _, settlement := range settlements {
		done, later, refused := s.sort(settlement)
		delivered, changes = append(delivered, done...), append(changes, later...)
		if len(refused) > 0 {
			burials[settlement.Topic] = append(burials[settlement.Topic], refused...)
		}
	}
	s.Remove(ctx, delivered)
	var ids []string
	for _, settlement := range settlements {
		for _, row := range settlement.Rows {
			ids = append(ids, row.ID)
		}
	}
	s.release(ids...) // the rows may be claimed again after this write
	// If these writes fail, the rows are claimed again when their lease ends.
	_, err := s.reschedule(ctx, changes)
	for _, settlement := range settlements {
		cause := refusalOf(settlement)
		if err != nil || cause == nil {
			continue // after an error, because an outbox that hangs would hold up other posts
		}
		refused := burials[settlement.Topic]
		delete(burials, settlement.Topic)
		// Messages that a person has retried or discarded in the meantime are
		// not dead.
		var dead int
		if dead, err = s.reschedule(ctx, refused); err == nil && dead > 0 {
			s.config.Tell.Dead(settlement.Topic, dead, cause, settlement.FromOutbox)
		}
	}
	return len(changes) > 0
}

// sort groups rows by outcome and reports the rows to retry.
func (s *Settler) sort(settlement Settlement) (delivered []string, changes, burials []outbox.Change) {
	var retried []*office.Failure
	for i, row := range settlement.Rows {
		f := settlement.Outcome.Failures[i]
		if f == nil {
			delivered = append(delivered, row.ID)
			continue
		}
		change := outbox.Change{ID: row.ID, LeaseToken: row.Token}
		switch {
		case f.Untried || f.Interrupted:
			change.Untried = f.Untried
			change.After = s.config.Backoff(f, row.Attempts)
		case f.Class == office.Permanent:
			change.Dead, change.LastError = true, f.Error()
			burials = append(burials, change)
			continue
		default:
			change.After, change.LastError = s.config.Backoff(f, row.Attempts), f.Error()
			retried = append(retried, f)
		}
		changes = append(changes, change)
	}
	if len(retried) > 0 {
		s.config.Tell.Failed(settlement.Topic, retried, settlement.FromOutbox)
	}
	return delivered, changes, burials
}

// refusalOf returns the reason why the server has refused a message
// permanently.
func refusalOf(settlement Settlement) (cause error) {
	for _, f := range settlement.Outcome.Failures {
		if f != nil && f.Class == office.Permanent {
			cause = f.Cause
		}
	}
	return cause
}

// Remove deletes delivered messages at once, or later if that fails. It repeats
// the deletion of messages that were not found, because a node of a cluster may
// not yet have rows that were inserted on another node.
func (s *Settler) Remove(ctx context.Context, ids []string) {
	n := 0
	err := s.write(ctx, len(ids), func(ctx context.Context) (err error) {
		n, err = s.config.Store.Delete(ctx, ids...)
		return err
	})
	switch {
	case err != nil:
		s.removeLater(ids, removal{})
	case n < len(ids):
		s.removeLater(ids, removal{at: time.Now().Add(missingPause), last: true})
	}
}

// removeLater deletes delivered messages before the next claim.
func (s *Settler) removeLater(ids []string, when removal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.delivered[id] = when
	}
}

// giveBack makes rows due that were claimed but not posted.
func (s *Settler) giveBack(ctx context.Context, records []outbox.Record) {
	changes := make([]outbox.Change, len(records))
	for i, record := range records {
		changes[i] = outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, Untried: true}
	}
	_, _ = s.reschedule(ctx, changes)
	s.release(recordIDs(records)...)
}

func (s *Settler) reschedule(ctx context.Context, changes []outbox.Change) (n int, err error) {
	err = s.write(ctx, len(changes), func(ctx context.Context) error {
		n, err = s.config.Store.Reschedule(ctx, changes...)
		return err
	})
	return n, err
}

// write changes rows of the outbox, also while the client is stopping.
func (s *Settler) write(ctx context.Context, rows int, change func(context.Context) error) error {
	if rows == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StoreTimeout)
	defer cancel()
	var err error
	for range storeTries {
		if err = s.config.Guard("settling messages", func() error { return change(ctx) }); err == nil {
			return nil
		}
	}
	s.config.Log.Error("store", "write", "the "+s.config.Name+" cannot be updated", "error", err)
	return err
}

// take marks claimed records as in hand. It returns the records that were
// neither in hand nor delivered before, because a clock that is set forward
// ends leases early.
func (s *Settler) take(records []outbox.Record) []outbox.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(records, func(record outbox.Record) bool {
		if _, delivered := s.delivered[record.ID]; delivered || s.inHand[record.ID] {
			return true
		}
		s.inHand[record.ID] = true
		return false
	})
}

// release reverses take.
func (s *Settler) release(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.inHand, id)
	}
}

func recordIDs(records []outbox.Record) []string {
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = records[i].ID
	}
	return ids
}

// removeDelivered deletes delivered rows whose deletion failed before, and rows
// that were not found.
func (s *Settler) removeDelivered(ctx context.Context) error {
	s.mu.Lock()
	now := time.Now()
	var ids []string
	for id, removal := range s.delivered {
		if !now.Before(removal.at) {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, StoreTimeout)
	defer cancel()
	n, err := s.config.Store.Delete(ctx, ids...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if n < len(ids) && !s.delivered[id].last {
			// An insert that timed out may still take effect.
			s.delivered[id] = removal{at: now.Add(missingPause), last: true}
			continue
		}
		delete(s.delivered, id)
	}
	return nil
}
