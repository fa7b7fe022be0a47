package core

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of bulk requests.
const (
	// bulkBytes is how many bytes of payloads a bulk request carries: well
	// below the server's 8,000,000 bytes of body.
	bulkBytes = 7_000_000
	// probes is how many messages are tried singly to find out whether a
	// server that fails a bulk request fails every message.
	probes = 3
	// failedSingles is how many messages may fail one after the other with
	// 5xx before the server is taken to be down.
	failedSingles = 5
)

var errOutOfTime = errors.New("postoffice: no time left to send it")

// errUnsent is the failure of what is not sent yet; it stays so where the app's
// transport panics.
var errUnsent = &failure{class: transient, cause: errPanicked}

// delivery is the work of sending a batch: in bulk requests as large as
// allowed, cut in halves where the server refuses one.
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

	// errs holds the failure of each payload, nil for a delivered one and
	// errUnsent for one that was not sent yet.
	errs []*failure
	jobs []int64
	// halt is why nothing more is sent: the server fails as a whole.
	halt *failure
	// singles counts messages that failed singly with 500 in a row.
	singles int
}

// send delivers the batch as far as it can; errs tells the fate of each
// payload afterwards.
func (d *delivery) send(ctx context.Context) {
	d.errs = make([]*failure, len(d.batch.payloads))
	indexes := make([]int, len(d.batch.payloads))
	for i := range indexes {
		indexes[i] = i
	}
	d.fail(indexes, errUnsent)
	for len(indexes) > 0 {
		size := d.chunk(indexes)
		d.run(ctx, indexes[:size])
		indexes = indexes[size:]
		if d.givenUp != nil && d.halt == nil {
			if err := d.givenUp(); err != nil {
				d.halt = &failure{class: transient, cause: err, untried: true}
			}
		}
	}
}

// chunk tells how many of the payloads go into the next request.
func (d *delivery) chunk(indexes []int) int {
	if d.batch.scheduled() || d.batch.each != nil {
		return 1 // there is no bulk request for scheduled messages, nor for different attributes
	}
	most, bytes := d.client.limits.of(d.batch.topic)
	size := 0
	for i, index := range indexes {
		size += len(d.batch.payloads[index]) + 1
		if i == most || i > 0 && size > bytes {
			return i
		}
	}
	return len(indexes)
}

// run sends the payloads in one request, or in several if it must. It tells
// whether all of them were delivered by the first request.
func (d *delivery) run(ctx context.Context, indexes []int) bool {
	if d.halt == nil && !d.deadline.IsZero() && !time.Now().Before(d.deadline) {
		d.halt = &failure{class: transient, cause: errOutOfTime, untried: true}
	}
	switch {
	case len(indexes) == 0:
		return true
	case d.halt != nil:
		// The rest shares the fate of what failed, but nothing was sent.
		f := *d.halt
		f.untried = true
		d.fail(indexes, &f)
		return false
	case len(indexes) == 1:
		return d.single(ctx, indexes[0])
	}
	jobs, err := d.client.transport.postBulk(ctx, d.batch, indexes)
	if err == nil {
		d.client.limits.passed(d.batch.topic, len(indexes))
		d.succeed(indexes, jobs)
		return true
	}
	f := asFailure(err)
	half := (len(indexes) + 1) / 2
	switch {
	case f.class == tooLarge:
		if f.status == http.StatusRequestEntityTooLarge {
			d.client.limits.learnBytes(d.bytes(indexes) / 2)
		} else {
			d.client.limits.learnPayloads(half)
		}
		d.run(ctx, indexes[:half])
		d.run(ctx, indexes[half:])
	case f.mayBeOneMessage():
		d.bisect(ctx, indexes, f)
	default:
		if f.timedOut && !f.interrupted {
			// Perhaps it was too much for the time; ask for less next time.
			d.client.limits.slowDown(d.batch.topic, half)
		}
		d.fail(indexes, f)
		d.halt = f
	}
	return false
}

// bisect finds the messages that make a bulk request fail. A few tried
// singly tell whether the server takes any at all; they are chosen at random
// so that messages which always fail cannot hide all the others for ever. A
// server that refuses them for good says nothing about the others, each of which
// has a request of its own then, if need be: none is dead that was not tried.
func (d *delivery) bisect(ctx context.Context, indexes []int, cause *failure) {
	rest := append([]int(nil), indexes...)
	passed, suspects := false, 0
	for range min(probes, len(indexes)) {
		i := rand.IntN(len(rest))
		probe := rest[i]
		rest = append(rest[:i], rest[i+1:]...)
		if passed = d.single(ctx, probe); passed || d.halt != nil {
			break
		}
		suspects++
	}
	if !passed && d.halt == nil && cause.class != permanent {
		d.halt = cause
	}
	half := (len(rest) + 1) / 2
	first := d.run(ctx, rest[:half])
	second := d.run(ctx, rest[half:])
	if first && second && passed && suspects == 0 && half > 1 {
		// No message was at fault, so it was their number: the server has a
		// limit of jobs, payloads times consumers, that it answers with 500.
		d.client.limits.learnTopic(d.batch.topic, half)
	}
}

// single sends one message.
func (d *delivery) single(ctx context.Context, index int) bool {
	jobs, err := d.client.transport.postMessage(ctx, d.batch, index)
	if err == nil {
		d.singles = 0
		d.succeed([]int{index}, jobs)
		return true
	}
	f := asFailure(err)
	if f.class == tooLarge {
		f.class = permanent // it cannot be made smaller
	}
	d.fail([]int{index}, f)
	switch {
	case f.class == permanent:
	case f.status == http.StatusInternalServerError:
		if d.singles++; d.singles >= failedSingles {
			d.halt = f
		}
	default:
		d.halt = f
	}
	return false
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
