package share

import (
	"context"
	"errors"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// post is a delivery shared by calls: one request, or several if it fails.
type post struct {
	sharer *Sharer
	group  *group
	slot   int
	calls  []*call
	batch  message.Batch
	// owners are the calls of the messages.
	owners []*call
	// largest is the size of the largest request that the server accepted, and
	// singles the number of accepted requests with one message.
	largest, singles int
}

// unsent is the failure of messages that were not sent.
var unsent = &office.Failure{Class: office.Transient, Cause: errors.New("no request was sent")}

// newPost returns a delivery for calls of a group. The mutex must be held.
func newPost(s *Sharer, g *group, slot int, calls []*call) *post {
	first := calls[0].batch
	p := &post{sharer: s, group: g, slot: slot, calls: calls, batch: message.Batch{
		Topic: first.Topic, Attributes: first.Attributes, DeliverAt: first.DeliverAt,
		Messages: make([]message.Message, 0, len(calls)),
	}}
	p.owners = make([]*call, 0, len(calls))
	for _, c := range calls {
		c.post = p
		p.batch.Messages = append(p.batch.Messages, c.batch.Messages...)
		p.batch.AddOrigins(c.origins)
		for range c.batch.Messages {
			p.owners = append(p.owners, c)
		}
	}
	return p
}

// run delivers the messages and ends the calls.
func (p *post) run() {
	config := &p.sharer.config
	ctx, cancel := p.context()
	defer cancel()
	begin := time.Now()
	outcome := deliver.All(len(p.batch.Messages), unsent)
	defer func() { p.end(outcome, begin) }() // also if the app's transport calls runtime.Goexit
	outcome = config.Deliver(ctx, deliver.Job{
		Batch: &p.batch, Timeout: config.timeout(p.group.key.bulk), Unneeded: p.unneeded, Delivered: p.delivered,
	})
}

// end frees the slot and ends the calls.
func (p *post) end(outcome *deliver.Outcome, begin time.Time) {
	if p.singles > 1 && p.largest == 1 {
		p.sharer.setApart(p.batch.Topic)
	}
	p.sharer.end(p.group, p.slot, begin)
	first := 0
	for _, c := range p.calls {
		failures := outcome.Failures[first : first+len(c.batch.Messages)]
		first += len(c.batch.Messages)
		if c.left > 0 {
			c.answer(&deliver.Outcome{Failures: failures})
		}
	}
}

// context returns the context of the requests. If every call has a deadline of
// its caller, the context ends with the last one, as it would for a single
// call.
func (p *post) context() (context.Context, context.CancelFunc) {
	var last time.Time
	for _, c := range p.calls {
		if !c.interrupted {
			return context.Background(), func() {}
		}
		if c.end.After(last) {
			last = c.end
		}
	}
	return context.WithDeadline(context.Background(), last)
}

// delivered ends the calls whose messages the server has accepted. They do not
// wait for the remaining parts of a split request.
func (p *post) delivered(indexes []int, jobs []int64) {
	first, last := p.owners[indexes[0]], p.owners[indexes[len(indexes)-1]]
	event := deliver.Delivered{Topic: p.batch.Topic, Messages: len(indexes), Attempts: 1, Jobs: jobs, Since: first.since}
	p.sharer.config.Delivered(event)
	if p.largest = max(p.largest, len(indexes)); len(indexes) == 1 {
		p.singles++
	}
	for begin := 0; begin < len(indexes); {
		c := p.owners[indexes[begin]]
		end := begin
		for end < len(indexes) && p.owners[indexes[end]] == c {
			end++
		}
		if c.delivered(end-begin, jobs, first == last); c.left == 0 {
			c.answer(&deliver.Outcome{})
		}
		begin = end
	}
}

// unneeded reports whether the call of a message has ended, because it then
// stores the message itself.
func (p *post) unneeded(index int) bool { return p.owners[index].ended.Load() }
