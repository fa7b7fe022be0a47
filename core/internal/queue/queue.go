// Package queue holds messages in memory that are posted after the response. It
// collects messages in batches until a batch is full or old enough, posts a few
// batches at a time, and commits messages to the outbox that the server does
// not accept in time. It delivers batches and uses an outbox only through the
// functions of its Config.
package queue

import (
	"container/list"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

const (
	// retryMax bounds the pause before messages in memory are retried.
	retryMax = 30 * time.Second
	// maxSpareBytes is the maximum size of a buffer that is reused.
	maxSpareBytes = 2_000_000
)

// ErrFull means that the queue has no capacity.
var ErrFull = errors.New("too many messages in memory")

// Config configures a queue.
type Config struct {
	// Payloads and Bytes are the size of a full batch. Delay is the age at
	// which a batch is posted even if it is not full.
	Payloads, Bytes int
	Delay           time.Duration
	// InFlight is the number of batches posted at the same time.
	InFlight int
	// MaxMessages and MaxBytes bound the messages in memory.
	MaxMessages, MaxBytes int
	// MaxAge is the maximum time that a message is only in memory, with an
	// outbox.
	MaxAge time.Duration

	// Deliver posts a batch. It must not panic.
	Deliver func(ctx context.Context, job deliver.Job) *deliver.Outcome
	// Reusable means that the transport no longer reads a body that it has
	// closed.
	Reusable bool
	// Outbox is nil for none.
	Outbox *Outbox
	// Go runs a function in a goroutine that Stop waits for.
	Go func(func())
	// Force is done when posts must be aborted. Remaining messages are then
	// lost.
	Force context.Context
	Log   *loglimit.Logger
	Tell  Tell
}

// Outbox has the outbox functions of a queue. None of them may panic.
type Outbox struct {
	// Commit stores batches with the queue's lease. It may be repeated.
	Commit func(ctx context.Context, batches []Held) error
	// PostUntil returns the time until which requests may begin with rows that
	// were committed at the given time.
	PostUntil func(committed time.Time) time.Time
	// Settle writes the outcomes of rows that the queue has leased.
	Settle func(ctx context.Context, b *message.Batch, attempts int, outcome *deliver.Outcome)
	// Remove deletes delivered rows.
	Remove func(ctx context.Context, ids []string)
	// Store stores failed messages after the given number of earlier attempts.
	// It skips messages without a failure.
	Store func(ctx context.Context, b *message.Batch, tried int, outcome *deliver.Outcome) error
}

// Held is a batch to commit.
type Held struct {
	Batch *message.Batch
	// Attempts is the number of attempts, including the next one.
	Attempts int
	// Failures are the failures of the last attempt; nil if there was none.
	Failures []*office.Failure
}

// Tell has the callbacks for outcomes of messages. All functions are required.
type Tell struct {
	// Delivered reports messages of one request that the server has accepted.
	Delivered func(deliver.Delivered)
	// Failed reports messages that failed and are retried; without an outbox.
	Failed func(topic string, failures []*office.Failure)
	// Refused reports messages that the server has refused permanently and that
	// are lost, because there is no outbox.
	Refused func(topic string, messages int, cause error)
	// Aged reports messages that were committed because the server is slow.
	Aged func(topic string, messages int)
}

// Queue holds messages in memory. It is safe for concurrent use.
type Queue struct {
	config Config
	// shards collect messages in batches. All callers use the first shard,
	// which makes batches large. Under load, when every shard can fill its own
	// batches, callers on different processors use different shards.
	shards []shard
	busy   atomic.Bool
	// used is the usage of memory, including reserved capacity. safe is the
	// part of it that a crash does not lose: messages that are also in the
	// outbox, or not accepted yet.
	_    [falseSharing]byte
	used usage
	_    [falseSharing]byte
	safe usage
	// allowance bounds the rest, if there is an outbox.
	allowance *allowance

	mu    sync.Mutex // locked after the mutex of a shard
	work  sync.Cond  // signals ready and closing
	ready []*entry
	// unfinished holds every batch that is not delivered or stored, including
	// open batches and retries.
	unfinished map[*entry]struct{}
	retries    map[*entry]*time.Timer
	// freed is closed and replaced when capacity becomes available.
	freed   chan struct{}
	running bool // the workers are started
	// aging holds the batches that may be only in memory, the oldest first.
	aging list.List
	ager  ager
	// spare holds the buffers of delivered batches.
	spare   []*office.Collector
	closing bool // no messages are added any more
	// lost counts the messages that could be neither delivered nor stored when
	// the client was stopped.
	lost int
}

// New returns a queue. It starts no goroutine before the first message.
func New(config Config) *Queue {
	q := &Queue{
		config:     config,
		shards:     make([]shard, min(runtime.GOMAXPROCS(0), maxShards)),
		unfinished: map[*entry]struct{}{},
		retries:    map[*entry]*time.Timer{},
		freed:      make(chan struct{}),
		ager:       ager{wake: make(chan struct{}, 1)},
		allowance:  newAllowance(config.MaxAge / 2),
	}
	q.work.L = &q.mu
	for i := range q.shards {
		q.shards[i].queue = q
		q.shards[i].open = map[key]*entry{}
	}
	return q
}

// Put reserves capacity for a message and adds it: a payload with the topic,
// attributes, delivery time and origins of a batch, and an ID, which may be
// empty. It returns false if there is no capacity or the client is stopping.
// The turn distributes callers over the shards.
func (q *Queue) Put(like *message.Batch, payload []byte, id string, turn uint32) bool {
	s := q.shard(turn)
	if s.stopping || !s.reserve(len(payload)) {
		s.mu.Unlock()
		return false
	}
	full := s.append(like, payload, id, false)
	s.mu.Unlock()
	if full {
		// Callers that publish without a pause could keep the workers from
		// running for 10 ms, the scheduler's time slice.
		runtime.Gosched()
	}
	return true
}

// shard locks and returns the shard to use. Under load, a caller takes another
// shard instead of waiting for one whose holder may have been preempted.
func (q *Queue) shard(turn uint32) *shard {
	s := &q.shards[0]
	if q.busy.Load() {
		shards := uint32(len(q.shards))
		for i := range shards {
			if s = &q.shards[(turn+i)%shards]; s.mu.TryLock() {
				return s
			}
		}
	}
	s.mu.Lock()
	return s
}

// fills updates busy when a batch is sealed because it is full, or because its
// delay is over. The load is high if the batch became full in less than a
// shard's share of the delay.
func (q *Queue) fills(e *entry, full bool) {
	busy := full && time.Since(e.opened) < q.config.Delay/time.Duration(len(q.shards))
	if q.busy.Load() != busy {
		q.busy.Store(busy)
	}
}

// Add adds messages for which capacity was reserved. With stored, they are in
// the outbox under their IDs, leased by the queue.
func (q *Queue) Add(b *message.Batch, stored bool) {
	s := q.shard(0)
	defer s.mu.Unlock()
	like := message.Batch{Topic: b.Topic, DeliverAt: b.DeliverAt, Origins: b.Origins}
	for i := range b.Messages {
		like.Attributes = b.AttributesOf(i)
		s.append(&like, b.Messages[i].Payload, b.Messages[i].ID, stored)
	}
}

// expect registers a new batch and starts the workers with the first one.
func (q *Queue) expect(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.collector = q.takeSpare()
	q.unfinished[e] = struct{}{}
	if !e.held {
		e.age = q.aging.PushBack(e)
		q.ager.expect()
	}
	if q.running {
		return
	}
	q.running = true
	for range q.config.InFlight {
		q.config.Go(q.run)
	}
	if q.config.Outbox != nil {
		q.config.Go(q.commitOld)
	}
}

// takeSpare returns a spare collector, or a new one, which starts small because
// there can be as many batches as messages.
func (q *Queue) takeSpare() *office.Collector {
	last := len(q.spare) - 1
	if last < 0 {
		return &office.Collector{}
	}
	spare := q.spare[last]
	q.spare = q.spare[:last]
	return spare
}

// spares returns the collector of a delivered batch if its body is no longer
// read: net/http has closed it, and the batch was not passed to the outbox,
// neither before the post nor for its failures. Other transports may read a
// closed body, so their collectors are not reused.
func (q *Queue) spares(e *entry, failed []int) *office.Collector {
	if e.body == nil || !q.config.Reusable || !e.body.Free() || e.unsure || e.held ||
		e.body.Size() > maxSpareBytes || len(failed) > 0 {
		return nil
	}
	return e.collector
}

// run posts batches until the queue is closed and empty.
func (q *Queue) run() {
	for e := q.take(); e != nil; e = q.take() {
		q.deliver(e)
	}
}

// take waits for a batch to post. It returns nil if there will be none.
func (q *Queue) take() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) == 0 {
		if q.closing && len(q.unfinished) == 0 {
			return nil
		}
		q.work.Wait()
	}
	e := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	return e
}

// deliver posts a batch and processes the messages that the server did not
// accept.
func (q *Queue) deliver(e *entry) {
	e.close()
	job := deliver.Job{Batch: &e.batch, GivenUp: q.config.Force.Err, Delivered: func(indexes []int, jobs []int64) {
		q.config.Tell.Delivered(deliver.Delivered{
			Topic: e.key.topic, Messages: len(indexes), Attempts: e.attempts + 1, Since: e.opened, Jobs: jobs,
		})
	}}
	if q.config.Outbox != nil {
		job.Deadline = q.config.Outbox.PostUntil(q.leaseOf(e))
	}
	outcome := q.config.Deliver(q.config.Force, job)
	q.mu.Lock()
	committing := e.committing
	if committing {
		e.posted = outcome // commit concludes it
	} else {
		e.concluding = true
	}
	q.mu.Unlock()
	if !committing {
		q.conclude(e, outcome)
	}
}

// leaseOf returns when the lease of a batch's rows began. For a batch that is
// not in the outbox it returns the current time, because its lease cannot begin
// earlier.
func (q *Queue) leaseOf(e *entry) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.held {
		return e.leased
	}
	return time.Now()
}

// Flush posts the messages in memory and waits until all of them are delivered
// or stored. It returns the number of messages that were lost because the
// client was stopped. The error is the error of ctx.
func (q *Queue) Flush(ctx context.Context) (lost int, err error) {
	for i := range q.shards {
		q.shards[i].sealAll()
	}
	q.mu.Lock()
	var waiting []*settlement
	for e := range q.unfinished {
		if !e.held {
			waiting = append(waiting, e.settlement)
		}
	}
	q.mu.Unlock()
	for _, s := range waiting {
		select {
		case <-s.done:
			lost += s.lost
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return lost, nil
}

// Stop makes Put reject messages. Add still accepts them.
func (q *Queue) Stop() {
	for i := range q.shards {
		q.shards[i].stop()
	}
}

// Close ends the workers when all messages are delivered or stored. Afterwards,
// messages must not be added.
func (q *Queue) Close() {
	for i := range q.shards {
		q.shards[i].sealAll()
		q.shards[i].stopTimer()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closing = true
	q.work.Broadcast()
	q.ager.wakeUp()
}

// Expedite ends the pauses before retries, which then notice a forced stop.
func (q *Queue) Expedite() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for e, timer := range q.retries {
		timer.Stop()
		q.retry(e)
	}
}

// Lost returns the number of messages lost by stopping.
func (q *Queue) Lost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}
