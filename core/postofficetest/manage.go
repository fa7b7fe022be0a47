package postofficetest

import (
	"container/heap"
	"slices"
)

// UpdateConsumer changes the Target, Timeout and Paused of the consumer with an ID,
// like an operator on the server's pages; no API call can. It ignores the other
// fields. The Target applies to new messages: waiting jobs keep the one that they
// were created with. As with [Server.SetPaused], a pause is heeded.
//
// The error is ErrNoConsumer, also for a deleted consumer, ErrTaken, or says that
// the target is too long.
func (o *Operator) UpdateConsumer(changed Consumer) error {
	if tooLong(changed.Target) {
		return raised("value too long or with NUL")
	}
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	consumer := s.consumers[changed.ID]
	if consumer == nil || consumer.Deleted {
		return ErrNoConsumer
	}
	if slices.ContainsFunc(s.topics[consumer.Topic].consumers, func(other *Consumer) bool {
		return other != consumer && other.Target == changed.Target && other.Type == consumer.Type
	}) {
		return ErrTaken
	}
	if former := consumer.Target; former != changed.Target {
		s.fixTargets(consumer, former)
	}
	consumer.Target, consumer.Timeout = changed.Target, changed.Timeout
	s.setPaused(consumer, changed.Paused)
	s.notify()
	return nil
}

// fixTargets makes the jobs of a consumer keep its target. The caller holds the
// mutex.
func (s *Server) fixTargets(consumer *Consumer, target string) {
	fix := func(j *job) {
		if j.consumer == consumer && j.target == nil {
			j.target = &target
		}
	}
	for _, j := range s.jobs {
		fix(j)
	}
	for j := range s.unsettled {
		fix(j)
	}
}

// DeleteConsumer deletes a consumer like an operator on the server's pages, and
// reports whether it existed. Unlike a deletion by the API it is always heeded:
// waiting jobs are discarded when they become due. A consumer with its topic, target
// and type can never be created again.
func (o *Operator) DeleteConsumer(id int64) bool {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	consumer := s.consumers[id]
	if consumer == nil || consumer.Deleted {
		return false
	}
	consumer.Deleted, consumer.Heeded, s.heeds = true, true, true
	s.notify()
	return true
}

// CancelJob ends a job that waits for its next attempt, including a scheduled one,
// like an operator on the server's pages. The error is ErrNoJob, ErrUnderWay or
// ErrSettled.
func (o *Operator) CancelJob(id int64) error {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	index := slices.IndexFunc(s.planned, func(j *job) bool { return j.id == id })
	if index < 0 {
		switch j := s.findJob(id); {
		case j == nil:
			return ErrNoJob
		case j.state == Pending:
			return ErrUnderWay
		default:
			return ErrSettled
		}
	}
	cancelled := s.planned[index]
	heap.Remove(&s.planned, index)
	cancelled.state = Cancelled
	s.notify()
	return nil
}
