package core

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of bulk requests.
const (
	// bulkBytes is how many bytes of payloads, attributes and topic a bulk
	// request carries: well below the server's 8,000,000 bytes of body.
	bulkBytes = 7_000_000
	// maxWasted is how long a delivery with an outbox spends on requests that
	// fail. The outbox has the rest then, so that a batch of messages that fail
	// does not hold back others.
	maxWasted = 2 * time.Second
)

var errOutOfTime = errors.New("no time left to send it")

// errUnsent is the failure of what is not sent yet; it stays so where the app's
// transport panics.
var errUnsent = &failure{class: transient, cause: errPanicked}

// delivery is the work of sending a batch, in bulk requests as large as
// allowed. The server accepts or refuses a request as a whole, so a single
// message can make it fail, with any status. A request that fails is therefore
// cut: each failure halves the size of the next request, each success doubles
// it. n messages, k of them at fault, need at most about 2n-k requests, and
// few if k is small.
//
// A server that is down fails in the same way. To tell the two apart the
// delivery asks it with a request without messages, see [transport.ask].
type delivery struct {
	client *Client
	batch  batch
	// deadline is when no further request may begin; zero for never.
	deadline time.Time
	// since is when the oldest message was accepted, if the observer wants to
	// know; attempts is how often they were tried, this time included.
	since    time.Time
	attempts int
	// records are the messages as they were in the outbox; nil for those that
	// are not from there.
	records []outbox.Record
	// givenUp tells, after the first request, whether the caller has no use
	// for the rest being sent; nil for never.
	givenUp func() error
	// awaited tells that a caller waits: the delivery ends with a failure that is
	// likely the server's.
	awaited bool

	// errs holds the failure of each payload, nil for a delivered one and
	// errUnsent for one that was not sent yet.
	errs []*failure
	jobs []int64
	// halt is why nothing more is sent.
	halt *failure
	sent bool // a request, at least

	// size bounds the payloads of the next request.
	size int
	// doubts counts the failures in a row that do not tell whether the server
	// or a message is at fault, and doubt is the last of them. wellKnown tells
	// that the server has accepted something, or has said that it is well.
	doubts    int
	doubt     *failure
	wellKnown bool
	// wasted is the time spent on requests that failed.
	wasted time.Duration
	cut    cut
}

// cut is what is known of the messages of a request that failed, while they are
// sent in smaller ones.
type cut struct {
	left     int // of them
	smallest int // size to which requests were cut
	// tooMany tells that the failure may be due to their number: the server
	// has a limit of jobs, payloads times consumers, that it answers with 500.
	tooMany bool
	// slow tells that it failed because its time was over.
	slow bool
}

// send delivers the payloads with the given indexes as far as it can; errs
// tells the fate of each afterwards.
func (d *delivery) send(ctx context.Context, indexes []int) {
	d.size = len(indexes)
	for len(indexes) > 0 {
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

// obstacle tells why no further request may begin; nil if one may.
func (d *delivery) obstacle(ctx context.Context) *failure {
	outOfTime := &failure{class: transient, cause: errOutOfTime, untried: true}
	if !d.deadline.IsZero() && !time.Now().Before(d.deadline) {
		return outOfTime
	}
	if (d.wasted > maxWasted || d.cut.slow && d.cut.left == 0) && d.client.cfg.outbox != nil {
		// The next delivery begins with the size that this one has come to.
		d.client.limits.slowDown(d.batch.topic, d.size)
		return outOfTime
	}
	if d.sent && d.givenUp != nil {
		if err := d.givenUp(); err != nil {
			return &failure{class: transient, cause: err, untried: true}
		}
	}
	if d.doubts >= askAfter || d.doubts > 0 && !d.wellKnown {
		if d.client.transport.ask(ctx, d.batch.topic) != nil {
			return d.doubt
		}
		d.doubts, d.wellKnown = 0, true
	}
	return nil
}

// abandon gives up the rest. It shares the fate of what failed, but was not
// sent, unless it was part of a request that failed because the server does.
func (d *delivery) abandon(indexes []int) {
	sent := 0
	if d.halt == d.doubt {
		sent = min(d.cut.left, len(indexes))
		d.fail(indexes[:sent], d.halt)
	}
	rest := *d.halt
	rest.untried = true
	rest.retryAfter = 0 // the server did not speak of them
	d.fail(indexes[sent:], &rest)
}

// chunk tells how many of the payloads may go into the next request.
func (d *delivery) chunk(indexes []int) int {
	if d.batch.scheduled() || d.batch.each != nil {
		return 1 // there is no bulk request for scheduled messages, nor for different attributes
	}
	limit, bytes := d.client.limits.of(d.batch.topic)
	size := len(d.batch.topic) + len(d.batch.attributes)
	for i, index := range indexes {
		size += len(d.batch.payloads[index]) + 1
		if i == limit || i > 0 && size > bytes {
			return i
		}
	}
	return len(indexes)
}

// post sends payloads in one request.
func (d *delivery) post(ctx context.Context, indexes []int) *failure {
	var jobs []int64
	var err error
	d.sent = true
	b := d.batch
	b.tryOnce = d.cut.left > 0 || d.doubts > 0 || d.failedBefore() // they may be at fault
	if len(indexes) == 1 {
		jobs, err = d.client.transport.postMessage(ctx, b, indexes[0])
	} else {
		jobs, err = d.client.transport.postBulk(ctx, b, indexes)
	}
	if err == nil {
		d.succeed(indexes, jobs)
		return nil
	}
	f := asFailure(err)
	if len(indexes) == 1 {
		f.ofOne()
	}
	return f
}

// passed notes that a request with so many payloads was accepted.
func (d *delivery) passed(n int) {
	d.client.limits.passed(d.batch.topic, n)
	d.doubts, d.wellKnown = 0, true
	if !d.cut.slow || d.cut.left <= n {
		d.size = max(d.size, 2*n)
	}
}

// canHalve tells whether the payloads of a bulk request that failed are sent in
// smaller ones.
func (d *delivery) canHalve(f *failure) bool {
	return f.class == tooLarge || f.mayBeOneMessage() && (!d.awaited || !f.likelyOfServer())
}

// halve has the payloads of a bulk request that failed sent in smaller ones.
func (d *delivery) halve(f *failure, indexes []int) {
	half := (len(indexes) + 1) / 2
	d.size = half
	switch {
	case f.timedOut:
		// Perhaps they were too much for the time, perhaps one has the server
		// hang. Sent singly it costs the least time to find.
		d.client.limits.slowDown(d.batch.topic, half)
		d.cut = cut{left: len(indexes), slow: true}
		d.size, d.wasted = 1, 0
		d.question(f)
	case f.class != tooLarge:
		d.cut.begin(len(indexes), f.status == http.StatusInternalServerError)
		d.question(f)
	case f.status == http.StatusRequestEntityTooLarge:
		d.client.limits.learnBytes(d.bytes(indexes) / 2)
	default:
		d.client.limits.learnPayloads(half)
	}
}

// judge decides, after a failure that settles so many payloads, whether the
// rest is sent.
func (d *delivery) judge(f *failure, n int) {
	switch {
	case d.awaited && f.likelyOfServer():
		if f.timedOut {
			d.client.limits.slowDown(d.batch.topic, (n+1)/2)
		}
		d.halt = f
	case n == 1 && f.mayBeOneMessage():
		d.question(f)
		if !d.failedBefore() {
			d.client.transport.breaker.blame(f)
		}
	default:
		d.halt = f
	}
}

// question notes a failure that may be due to a message or to the server.
func (d *delivery) question(f *failure) {
	if f.class == permanent {
		return // the server has read the message, so it is well
	}
	d.doubts++
	d.doubt = f
}

// failedBefore tells whether the messages are in the outbox because they have
// failed.
func (d *delivery) failedBefore() bool { return d.records != nil && hasFailed(d.records[0]) }

// begin notes that a request with so many payloads failed.
func (c *cut) begin(n int, tooMany bool) {
	if c.left == 0 {
		*c = cut{tooMany: tooMany}
	}
	c.left = max(c.left, n)
	c.smallest = (n + 1) / 2
}

// advance notes that so many payloads are settled. If none of those of a request
// that failed was at fault, it was their number: the topic has a limit then.
func (c *cut) advance(d *delivery, n int, delivered bool) {
	if c.left == 0 {
		return
	}
	c.tooMany = c.tooMany && delivered
	if c.left -= min(n, c.left); c.left == 0 && c.tooMany && c.smallest > 1 {
		d.client.limits.learnTopic(d.batch.topic, c.smallest)
	}
}

func (d *delivery) succeed(indexes []int, jobs []int64) {
	d.fail(indexes, nil)
	d.jobs = append(d.jobs, jobs...)
	event := Event{Topic: d.batch.topic, Messages: len(indexes), FromOutbox: d.records != nil, Attempts: d.attempts}
	since := d.since
	if d.records != nil && d.client.cfg.observer.Delivered != nil {
		for _, index := range indexes {
			record := &d.records[index]
			event.Attempts = max(event.Attempts, record.Attempts)
			if since.IsZero() || record.CreatedAt.Before(since) {
				since = record.CreatedAt
			}
		}
	}
	d.client.delivered(event, since, jobs)
}

// fail notes the failure of payloads, nil for none.
func (d *delivery) fail(indexes []int, f *failure) {
	for _, index := range indexes {
		d.errs[index] = f
	}
}

func (d *delivery) bytes(indexes []int) int {
	sum := 0
	for _, index := range indexes {
		sum += len(d.batch.payloads[index]) + 1
	}
	return sum
}
