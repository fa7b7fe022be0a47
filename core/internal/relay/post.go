package relay

import (
	"errors"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// post is a slot in use.
type post struct {
	topic  *topic
	failed bool
	probe  bool      // with one row, to find out whether the server is back
	until  time.Time // when the last request may begin
	// rest are the rows that were not sent before the end of the time slice.
	rest []*group
	// timedOut means that the server did not respond in time.
	timedOut bool
	// untried means that nothing was sent.
	untried bool
}

// handle calls the handler with the row of a slot and settles the row.
func (d *dispatcher) handle(p *post, record outbox.Record) {
	failure, settled := d.Handle(d.force, record)
	if settled {
		d.Settler.release(record.ID)
		return
	}
	outcome := &deliver.Outcome{Failures: []*office.Failure{failure}}
	p.timedOut = outcome.TimedOut()
	d.settleLater(p, outcome, record)
}

// settleLater passes the outcome of rows to the goroutine that settles them.
func (d *dispatcher) settleLater(p *post, outcome *deliver.Outcome, records ...outbox.Record) {
	rows := make([]Row, len(records))
	for i, record := range records {
		rows[i] = Row{ID: record.ID, Token: record.LeaseToken, Attempts: record.Attempts}
	}
	d.reserveSettling(len(rows))
	d.settlements <- Settlement{Topic: p.topic.name, Rows: rows, Outcome: outcome, FromOutbox: true}
}

// send posts the rows of a slot and settles them.
func (d *dispatcher) send(p *post, chunk []*group) {
	first := chunk[0]
	if d.Handle != nil {
		d.handle(p, first.records[0])
		return
	}
	batch := message.Batch{Topic: p.topic.name, Attributes: []byte(first.attributes), DeliverAt: first.deliverAt}
	var records []outbox.Record
	var groups []*group // the group of each record
	for _, g := range chunk {
		for _, record := range g.records {
			m := message.Message{ID: record.ID, Payload: record.Payload}
			if len(chunk) > 1 {
				if m.Attributes = record.Attributes; m.Attributes == nil {
					m.Attributes = message.NoAttributes
				}
			}
			batch.Messages = append(batch.Messages, m)
			records, groups = append(records, record), append(groups, g)
		}
	}
	job := deliver.Job{
		Batch: &batch, Deadline: p.until, GivenUp: d.force.Err, FailedBefore: p.failed,
		Delivered: func(indexes []int, jobs []int64) { d.Delivered(deliveredOf(p.topic.name, records, indexes, jobs)) },
	}
	sliced := len(chunk) > 1 || !first.deliverAt.IsZero()
	if end := time.Now().Add(slice); sliced && end.Before(p.until) {
		job.Deadline = end
	}
	outcome := d.Deliver(d.force, job)
	p.timedOut, p.untried = outcome.TimedOut(), !outcome.Tried()
	if sliced && time.Now().Before(p.until) {
		records, outcome = p.keepRest(records, outcome, groups)
	}
	d.settleLater(p, outcome, records...)
}

// keepRest keeps the rows that were not sent for lack of time, and returns the
// others with their outcome.
func (p *post) keepRest(records []outbox.Record, outcome *deliver.Outcome, groups []*group) ([]outbox.Record, *deliver.Outcome) {
	kept := &deliver.Outcome{}
	var settled []outbox.Record
	for i, f := range outcome.Failures {
		if f != nil && f.Untried && errors.Is(f.Cause, deliver.ErrOutOfTime) {
			rest := *groups[i]
			rest.records = records[i : i+1 : i+1]
			p.rest = append(p.rest, &rest)
			continue
		}
		settled = append(settled, records[i])
		kept.Failures = append(kept.Failures, f)
	}
	return settled, kept
}

// deliveredOf describes rows of one request that the server has accepted.
func deliveredOf(topic string, records []outbox.Record, indexes []int, jobs []int64) deliver.Delivered {
	event := deliver.Delivered{Topic: topic, Messages: len(indexes), Jobs: jobs, FromOutbox: true}
	for _, index := range indexes {
		record := &records[index]
		event.Attempts = max(event.Attempts, record.Attempts)
		if event.Since.IsZero() || record.CreatedAt.Before(event.Since) {
			event.Since = record.CreatedAt
		}
	}
	return event
}
