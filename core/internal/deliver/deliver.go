// Package deliver sends batches of messages to the server and returns the
// outcome of each message. It learns how much a request may carry, and which
// messages of a failed request are at fault. It knows the office, but neither
// queues nor stores.
package deliver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// Limits of bulk requests.
const (
	// MaxBytes is the maximum of payloads, attributes and topic in a bulk
	// request: well below the server's limit of 8,000,000 bytes of body.
	MaxBytes = 7_000_000
	// maxWasted is how long a delivery with an outbox spends on failed
	// requests. Then the remaining messages go back to the outbox, because a
	// batch of failing messages must not hold back others.
	maxWasted = 2 * time.Second
	// askAfter is the number of consecutive failures, each possibly caused by a
	// message, after which the server is checked.
	askAfter = 4
)

// Errors of messages that were not sent.
var (
	ErrOutOfTime = errors.New("no time left to send it")
	errPanicked  = errors.New("panic")
	errUnneeded  = errors.New("no longer needed")
)

// unsent is the failure of messages that were not sent. Messages keep it if the
// app's transport panics.
var unsent = &office.Failure{Class: office.Transient, Cause: errPanicked}

// Config configures a sender.
type Config struct {
	Office *office.Office
	// BulkLimit is the maximum number of payloads in a request.
	BulkLimit int
	// Outbox means that unsent messages are not lost, so a delivery may end
	// early.
	Outbox bool
	// RestoreTopic creates a topic that the server does not have, and the app's
	// consumers of it, if the app has configured the topic. It reports whether
	// the server has them now.
	RestoreTopic func(ctx context.Context, topic string) bool
	// RestoredSince reports whether RestoreTopic has succeeded for a topic and
	// was in progress at some time since began. If it still is, RestoredSince
	// waits.
	RestoredSince func(ctx context.Context, topic string, began time.Time) bool
	// Guard calls a function and returns an error if it panics.
	Guard func(doing string, call func() error) error
}

// Sender sends batches. It is safe for concurrent use.
type Sender struct {
	Config
	limits *limits
}

// NewSender returns a sender.
func NewSender(config Config) *Sender {
	return &Sender{Config: config, limits: newLimits(config.BulkLimit, MaxBytes)}
}

// TakesFew reports whether the server is known to accept only few small
// messages of the topic in one request.
func (s *Sender) TakesFew(topic string) bool { return s.limits.few(topic) }

// Job describes a batch to send.
type Job struct {
	Batch *message.Batch
	// Deadline is the time after which no further request begins; zero for
	// none.
	Deadline time.Time
	// GivenUp is called after the first request; nil for never. An error means
	// that the caller no longer needs the rest to be sent.
	GivenUp func() error
	// Unneeded is called after the first request; nil for never. It reports
	// whether a message no longer needs to be sent.
	Unneeded func(index int) bool
	// Awaited means that a caller waits for the outcome: a failure that is
	// probably the server's ends the delivery.
	Awaited bool
	// Timeout bounds each request with small messages; zero for the office's
	// own timeouts.
	Timeout time.Duration
	// FailedBefore means that all messages have failed before, so some may fail
	// every time.
	FailedBefore bool
	// Delivered is called after each request that the server accepted, with the
	// indexes of its messages; nil for none.
	Delivered func(indexes []int, jobs []int64)
}

// Delivered describes messages of one request that the server has accepted.
type Delivered struct {
	Topic    string
	Messages int
	// Attempts is the maximum number of attempts of a message.
	Attempts int
	// Since is the time when the client accepted the oldest message; zero if
	// not needed.
	Since time.Time
	// Jobs are the server's job IDs; nil if the response had none.
	Jobs       []int64
	FromOutbox bool
}

// Outcome is the result of a batch.
type Outcome struct {
	// Failures has one entry for each message: nil if it was delivered.
	Failures []*office.Failure
	// Jobs are the IDs of the server's jobs for the delivered messages.
	Jobs []int64
}

// Failed returns the indexes of the messages that were not delivered.
func (o *Outcome) Failed() []int { return o.where(func(f *office.Failure) bool { return f != nil }) }

// Delivered returns the indexes of the messages that were delivered.
func (o *Outcome) Delivered() []int { return o.where(func(f *office.Failure) bool { return f == nil }) }

func (o *Outcome) where(holds func(*office.Failure) bool) []int {
	var indexes []int
	for i, f := range o.Failures {
		if holds(f) {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// TimedOut reports whether a message failed because the server did not respond
// in time.
func (o *Outcome) TimedOut() bool {
	return slices.ContainsFunc(o.Failures, func(f *office.Failure) bool { return f != nil && f.TimedOut })
}

// Tried reports whether any message was sent, successfully or not.
func (o *Outcome) Tried() bool {
	return slices.ContainsFunc(o.Failures, func(f *office.Failure) bool { return f == nil || !f.Untried })
}

// All returns an outcome with the same failure for every message; nil for a nil
// failure.
func All(messages int, f *office.Failure) *Outcome {
	return &Outcome{Failures: slices.Repeat([]*office.Failure{f}, messages)}
}

// One sends the only message of a batch. If the server does not have a topic of
// the app, One restores the topic and sends the message again.
func (s *Sender) One(ctx context.Context, b *message.Batch) ([]int64, *office.Failure) {
	began := time.Now()
	jobs, f := s.Office.Post(ctx, b, 0, office.Terms{})
	if f != nil && f.Class == office.UnknownTopic && s.RestoreTopic(ctx, b.Topic) ||
		f == nil && s.discarded(ctx, b.Topic, jobs, began) {
		jobs, f = s.Office.Post(ctx, b, 0, office.Terms{})
	}
	if f != nil {
		f.OfOne()
		s.Office.Blame(f)
	}
	return jobs, f
}

// discarded reports whether the server accepted a request between the creation
// of a topic and of its consumers by another delivery: it then has no jobs, and
// the messages are to be sent again.
func (s *Sender) discarded(ctx context.Context, topic string, jobs []int64, began time.Time) bool {
	return jobs != nil && len(jobs) == 0 && s.RestoredSince(ctx, topic, began)
}

// Deliver sends as much of a batch as possible. Like One it restores a missing
// topic and sends the messages again, except for messages that were delivered
// or failed for another reason.
func (s *Sender) Deliver(ctx context.Context, job Job) *Outcome {
	d := s.begin(job)
	d.run(ctx)
	return &d.outcome
}

// DeliverInBackground is Deliver for goroutines of the client: if the app's
// transport panics, the unsent messages count as failed.
func (s *Sender) DeliverInBackground(ctx context.Context, job Job) *Outcome {
	d := s.begin(job)
	_ = s.Guard("sending messages", func() error {
		d.run(ctx)
		return nil
	})
	return &d.outcome
}

// delivery executes a job. It sends bulk requests that are as large as allowed.
// The server accepts or refuses a request as a whole, so a single message can
// make it fail, with any status. A failed request is therefore split: each
// failure halves the size of the next request, each success doubles it. If k of
// n messages are at fault, this takes at most about 2n-k requests, and few if k
// is small.
//
// A server that is down fails in the same way. To distinguish the two cases,
// the delivery checks the server with a request without messages, see
// [office.Office.Ask].
type delivery struct {
	*Sender
	Job
	// outcome has the failure unsent for each message that was not sent yet.
	outcome Outcome
	// halt is the reason to send nothing more.
	halt *office.Failure
	sent bool // at least one request

	// size is the maximum number of payloads of the next request.
	size int
	// doubts counts the consecutive failures that may be caused by the server
	// or by a message, and doubt is the last of them. wellKnown means that the
	// server has accepted a request or passed a check.
	doubts    int
	doubt     *office.Failure
	wellKnown bool
	// wasted is the time spent on failed requests.
	wasted time.Duration
	cut    cut
}

// cut is the state of the messages of a failed request while they are sent in
// smaller requests.
type cut struct {
	left     int // messages left
	smallest int // smallest size of a request so far
	// tooMany means that the number of messages may be the cause: the server
	// limits the jobs of a request, which are payloads times consumers, and
	// responds with 500 above the limit.
	tooMany bool
	// slow means that the request timed out.
	slow bool
}

func (s *Sender) begin(job Job) *delivery {
	return &delivery{Sender: s, Job: job, outcome: *All(len(job.Batch.Messages), unsent)}
}

func (d *delivery) run(ctx context.Context) {
	all := make([]int, len(d.Batch.Messages))
	for i := range all {
		all[i] = i
	}
	d.send(ctx, all)
	if d.halt == nil || d.halt.Class != office.UnknownTopic || !d.RestoreTopic(ctx, d.Batch.Topic) {
		return
	}
	rest := slices.DeleteFunc(all, func(i int) bool {
		f := d.outcome.Failures[i]
		return f == nil || f.Class != office.UnknownTopic
	})
	d.fail(rest, unsent)
	d.halt = nil
	d.send(ctx, rest)
}

// send delivers as many of the messages with the given indexes as possible.
func (d *delivery) send(ctx context.Context, indexes []int) {
	d.size = len(indexes)
	for indexes = d.skip(indexes); len(indexes) > 0; indexes = d.skip(indexes) {
		if d.halt == nil {
			d.halt = d.obstacle(ctx)
		}
		if d.halt != nil {
			d.abandon(indexes)
			return
		}
		n := min(d.chunk(indexes), d.size)
		started := time.Now()
		f := d.post(ctx, indexes[:n])
		if f != nil {
			d.wasted += time.Since(started)
			if n > 1 && d.canHalve(f) {
				d.halve(f, indexes[:n])
				continue
			}
			d.fail(indexes[:n], f)
			d.judge(f, n)
		} else {
			d.passed(n)
		}
		d.cut.advance(d, n, f == nil)
		indexes = indexes[n:]
	}
}

// obstacle returns the reason not to begin another request; nil if there is
// none.
func (d *delivery) obstacle(ctx context.Context) *office.Failure {
	if !d.Deadline.IsZero() && !time.Now().Before(d.Deadline) {
		return notSent(ErrOutOfTime)
	}
	if (d.wasted > maxWasted || d.cut.slow && d.cut.left == 0) && d.Outbox {
		// The next delivery begins with the current size.
		d.limits.slowDown(d.Batch.Topic, d.size)
		return notSent(ErrOutOfTime)
	}
	if d.sent && d.GivenUp != nil {
		if err := d.GivenUp(); err != nil {
			return notSent(err)
		}
	}
	if d.doubts >= askAfter || d.doubts > 0 && !d.wellKnown {
		if d.Office.Ask(ctx, d.Batch.Topic) != nil {
			return d.doubt
		}
		d.doubts, d.wellKnown = 0, true
	}
	return nil
}

// skip returns the messages that still need to be sent.
func (d *delivery) skip(indexes []int) []int {
	if !d.sent || d.Unneeded == nil {
		return indexes
	}
	var needed, unneeded []int
	cut := 0
	for i, index := range indexes {
		switch {
		case !d.Unneeded(index):
			needed = append(needed, index)
			continue
		case i < d.cut.left:
			cut++
		}
		unneeded = append(unneeded, index)
	}
	d.fail(unneeded, notSent(errUnneeded))
	d.cut.advance(d, cut, true)
	return needed
}

// notSent returns the failure of messages that were not sent.
func notSent(cause error) *office.Failure {
	return &office.Failure{Class: office.Transient, Cause: cause, Untried: true}
}

// abandon gives the remaining messages the failure that ended the delivery,
// marked as untried. Messages of a request that failed because of the server
// count as tried.
func (d *delivery) abandon(indexes []int) {
	sent := 0
	if d.halt == d.doubt {
		sent = min(d.cut.left, len(indexes))
		d.fail(indexes[:sent], d.halt)
	}
	rest := *d.halt
	rest.Untried = true
	rest.RetryAfter = 0 // it only applies to messages that were sent
	d.fail(indexes[sent:], &rest)
}

// chunk returns how many of the messages fit into the next request.
func (d *delivery) chunk(indexes []int) int {
	if d.Batch.Scheduled() || !d.Batch.Shares() {
		return 1 // the server has no bulk request for scheduled messages and different attributes
	}
	limit, bytes := d.limits.of(d.Batch.Topic)
	size := len(d.Batch.Topic) + len(d.Batch.Attributes)
	for i, index := range indexes {
		size += len(d.Batch.Messages[index].Payload) + 1
		if i == limit || i > 0 && size > bytes {
			return i
		}
	}
	return len(indexes)
}

// post sends messages in one request.
func (d *delivery) post(ctx context.Context, indexes []int) (f *office.Failure) {
	d.sent = true
	terms := office.Terms{Timeout: d.Timeout}
	terms.Once = d.cut.left > 0 || d.doubts > 0 || d.FailedBefore // the messages may be at fault
	began := time.Now()
	jobs, f := d.request(ctx, indexes, terms)
	if f == nil && d.discarded(ctx, d.Batch.Topic, jobs, began) {
		jobs, f = d.request(ctx, indexes, terms)
	}
	if f != nil {
		if len(indexes) == 1 {
			f.OfOne()
		}
		return f
	}
	d.fail(indexes, nil)
	d.outcome.Jobs = append(d.outcome.Jobs, jobs...)
	if d.Delivered != nil {
		d.Delivered(indexes, jobs)
	}
	return nil
}

func (d *delivery) request(ctx context.Context, indexes []int, terms office.Terms) ([]int64, *office.Failure) {
	if len(indexes) == 1 {
		return d.Office.Post(ctx, d.Batch, indexes[0], terms)
	}
	return d.Office.PostBulk(ctx, d.Batch, indexes, terms)
}

// passed records that a request with n messages was accepted.
func (d *delivery) passed(n int) {
	d.limits.passed(d.Batch.Topic, n)
	d.doubts, d.wellKnown = 0, true
	if !d.cut.slow || d.cut.left <= n {
		d.size = max(d.size, 2*n)
	}
}

// canHalve reports whether the messages of a failed bulk request are sent again
// in smaller requests.
func (d *delivery) canHalve(f *office.Failure) bool {
	return f.Class == office.TooLarge || f.MayBeOneMessage() && (!d.Awaited || !f.LikelyOfServer())
}

// halve prepares to send the messages of a failed bulk request in smaller
// requests.
func (d *delivery) halve(f *office.Failure, indexes []int) {
	half := (len(indexes) + 1) / 2
	d.size = half
	switch {
	case f.TimedOut:
		// Either there were too many messages for the timeout, or one of them
		// makes the server hang. Single requests find out fastest.
		d.limits.slowDown(d.Batch.Topic, half)
		d.cut = cut{left: len(indexes), slow: true}
		d.size, d.wasted = 1, 0
		d.question(f)
	case f.Class != office.TooLarge:
		d.cut.begin(len(indexes), f.Status == http.StatusInternalServerError)
		d.question(f)
	case f.Status == http.StatusRequestEntityTooLarge:
		d.limits.learnBytes(d.bytes(indexes) / 2)
	default:
		d.limits.learnPayloads(half)
	}
}

// judge decides whether the rest is sent after a failure that settles n
// messages.
func (d *delivery) judge(f *office.Failure, n int) {
	switch {
	case d.Awaited && f.LikelyOfServer():
		if f.TimedOut {
			d.limits.slowDown(d.Batch.Topic, (n+1)/2)
		}
		d.halt = f
	case n == 1 && f.MayBeOneMessage():
		d.question(f)
		if !d.FailedBefore {
			d.Office.Blame(f)
		}
	default:
		d.halt = f
	}
}

// question records a failure that may be caused by a message or by the server.
func (d *delivery) question(f *office.Failure) {
	if f.Class == office.Permanent {
		return // the server has parsed the message, so it works
	}
	d.doubts++
	d.doubt = f
}

// begin records that a request with n messages failed.
func (c *cut) begin(n int, tooMany bool) {
	if c.left == 0 {
		*c = cut{tooMany: tooMany}
	}
	c.left = max(c.left, n)
	c.smallest = (n + 1) / 2
}

// advance records that n messages are settled. If none of the messages of a
// failed request was at fault, their number was the cause: the topic has a
// limit.
func (c *cut) advance(d *delivery, n int, delivered bool) {
	if c.left == 0 {
		return
	}
	c.tooMany = c.tooMany && delivered
	if c.left -= min(n, c.left); c.left == 0 && c.tooMany && c.smallest > 1 {
		d.limits.learnTopic(d.Batch.Topic, c.smallest)
	}
}

// fail sets the failure of messages; nil means delivered.
func (d *delivery) fail(indexes []int, f *office.Failure) {
	for _, index := range indexes {
		d.outcome.Failures[index] = f
	}
}

func (d *delivery) bytes(indexes []int) int {
	sum := 0
	for _, index := range indexes {
		sum += len(d.Batch.Messages[index].Payload) + 1
	}
	return sum
}
