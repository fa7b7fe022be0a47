package postofficetest

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Reasons why a job cannot be retried at once, or cancelled.
var (
	// ErrNoJob means that the job does not exist or was forgotten.
	ErrNoJob = errors.New("postofficetest: no such job")
	// ErrPaused means that the job's consumer is paused.
	ErrPaused = errors.New("postofficetest: consumer is paused")
	// ErrUnderWay means that an attempt is in progress or about to start.
	ErrUnderWay = errors.New("postofficetest: job is in progress")
	// ErrSettled means that the job has nothing left to deliver.
	ErrSettled = errors.New("postofficetest: job is settled")
)

// Reasons why a topic or consumer cannot be created or changed.
var (
	// ErrTaken means that the topic exists, or a consumer with that topic, target
	// and type, possibly a deleted one.
	ErrTaken = errTaken
	// ErrNoConsumer means that the consumer does not exist or was deleted.
	ErrNoConsumer = errors.New("postofficetest: no such consumer")
)

// Operator operates a [Server] and returns its data: for programs that serve pages
// beside the API and keep the server's data, such as "postoffice dev". Tests of apps
// do not need it. Its methods are safe for concurrent use. Get one from
// [Server.Operator].
type Operator struct{ server *Server }

// Operator returns an operator of the server. All operators of a server are
// equivalent.
func (s *Server) Operator() *Operator { return &Operator{s} }

// Follow is [Server.Wait] without a default timeout, for programs that follow a
// server as long as it runs. The error is that of the context, or [ErrClosed].
func (o *Operator) Follow(ctx context.Context, condition func() bool) error {
	return o.server.follow(ctx, condition)
}

// Publish accepts a message like POST /api/messages, but without a request: faults
// do not affect it. It returns the ids of its jobs, none if the topic has no
// consumer. Payload and attributes are JSON. The error names the invalid argument.
func (o *Operator) Publish(topic string, payload, attributes json.RawMessage) ([]int64, error) {
	s := o.server
	name, err := json.Marshal(topic)
	if err != nil {
		return nil, fmt.Errorf("postofficetest: topic: %w", err)
	}
	fields := map[string]json.RawMessage{"topic": name}
	for _, field := range []struct {
		name string
		text json.RawMessage
	}{{"payload", payload}, {"attributes", attributes}} {
		if !validJSON(field.text) {
			return nil, errors.New("postofficetest: " + field.name + " is not JSON that the server accepts")
		}
		fields[field.name] = slices.Clone(field.text[skip(field.text, 0):])
	}
	ids, err := s.receive(fields, Single)
	if err != nil {
		return nil, fmt.Errorf("postofficetest: %w", err)
	}
	return ids, nil
}

// RetryNow makes the next attempt of a job at once, like an operator: of a job that
// waits, including a scheduled one, or of one that was given up. The error is
// ErrNoJob, ErrPaused, ErrUnderWay or ErrSettled.
func (o *Operator) RetryNow(id int64) error {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	index := slices.IndexFunc(s.planned, func(j *job) bool { return j.id == id })
	var waiting *job
	switch {
	case index >= 0:
		waiting = s.planned[index]
	default:
		waiting = s.findJob(id)
	}
	switch {
	case waiting == nil:
		return ErrNoJob
	case index < 0 && waiting.state == Pending:
		return ErrUnderWay
	case waiting.state != Pending && waiting.state != GivenUp:
		return ErrSettled
	case s.paused(waiting):
		return ErrPaused
	}
	if index >= 0 {
		heap.Remove(&s.planned, index)
	}
	waiting.state, waiting.due = Pending, s.clock()
	s.start(waiting)
	s.notify()
	return nil
}

// RetryConsumer makes the next attempt of all waiting jobs of a consumer at once,
// except for scheduled ones, and returns how many. It retries none of a paused
// consumer.
func (o *Operator) RetryConsumer(id int64) int {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	var due, rest []*job
	for _, j := range s.planned {
		if j.consumer.ID == id && !s.paused(j) && !j.messages[0].DeliverAt.After(now) {
			due = append(due, j)
		} else {
			rest = append(rest, j)
		}
	}
	if len(due) == 0 {
		return 0
	}
	s.planned = rest
	heap.Init(&s.planned)
	slices.SortFunc(due, func(a, b *job) int { return int(a.id - b.id) })
	for _, j := range due {
		j.due = now
		s.start(j)
	}
	s.notify()
	return len(due)
}

// paused reports whether a job waits for the end of a pause. The caller holds the
// mutex.
func (s *Server) paused(j *job) bool {
	consumer := s.consumers[j.stateOf]
	return consumer != nil && consumer.Paused && consumer.Heeded
}

// findJob returns the job with an id, or nil. The caller holds the mutex.
func (s *Server) findJob(id int64) *job {
	index, found := slices.BinarySearchFunc(s.jobs, id, func(j *job, id int64) int { return int(j.id - id) })
	if found {
		return s.jobs[index]
	}
	// Unsettled jobs may be older than the history.
	for j := range s.unsettled {
		if j.id == id {
			return j
		}
	}
	return nil
}

// unsettled yields the jobs that are not settled. The caller holds the mutex.
func (s *Server) unsettled(yield func(*job) bool) {
	for _, list := range [][]*job{s.planned, s.ready} {
		for _, j := range list {
			if !yield(j) {
				return
			}
		}
	}
	for j := range s.flying {
		if !yield(j) {
			return
		}
	}
}
