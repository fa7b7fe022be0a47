package postofficetest

import (
	"cmp"
	"slices"
)

// The accessors below are for pages about a long-lived server: they return a few
// items, newest first, at a cost that does not depend on the payloads. Payload,
// Attributes and Body belong to the server and must not be modified.

// Attempt is a delivery with its number.
type Attempt struct {
	// Number counts completed attempts from 1.
	Number int64
	// Message is the number of the message, or of the first message of a chunk.
	Message int64
	// Delivery has no Body.
	Delivery
}

// JobStatus is the current state of a job.
type JobStatus struct {
	Job
	// UnderWay means that an attempt is in progress or about to start.
	UnderWay bool
	// Target is the address of the next attempt, without userinfo. It differs from
	// the consumer's target if that was changed since, or if the message names
	// another consumer.
	Target string
}

// Totals are the outcomes of the remembered jobs of a consumer.
type Totals struct{ Waiting, Delivered, Failed, Kept, Cancelled int }

// browseStep is how many items are visited while the mutex is held. The functions that
// select them are called without it: they may take long, and must not block the server.
const browseStep = 200

// RecentMessages returns at most limit messages with a number below before, or the
// newest if before is zero. Unless wanted is nil, the result contains the messages
// for which it returns true. wanted gets a message and its jobs, without forgotten
// ones.
func (o *Operator) RecentMessages(before int64, limit int, wanted func(Message, []Job) bool) []Message {
	var selects func(messageJobs) bool
	if wanted != nil {
		selects = func(m messageJobs) bool { return wanted(m.Message, m.jobs) }
	}
	found := newest(before, limit, func(before int64, limit int) []messageJobs {
		return o.server.messagesBelow(before, limit, wanted != nil)
	}, func(m messageJobs) int64 { return m.Number }, selects)
	var recent []Message
	for _, m := range found {
		recent = append(recent, m.Message)
	}
	return recent
}

// newest returns at most limit items that wanted selects, or of all if it is nil. below
// returns the newest items below a number, or of all if it is zero.
func newest[T any](before int64, limit int, below func(before int64, limit int) []T, number func(T) int64, wanted func(T) bool) []T {
	if wanted == nil {
		return below(before, max(limit, 0))
	}
	var found []T
	for len(found) < limit {
		items := below(before, browseStep)
		for _, item := range items {
			if len(found) < limit && wanted(item) {
				found = append(found, item)
			}
		}
		if len(items) < browseStep {
			break
		}
		before = number(items[len(items)-1])
	}
	return found
}

// messageJobs is a message with its jobs.
type messageJobs struct {
	Message
	jobs []Job
}

// messagesBelow returns the newest messages below a number, or of all if it is zero,
// with their jobs if withJobs is set.
func (s *Server) messagesBelow(before int64, limit int, withJobs bool) (messages []messageJobs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := len(s.messages)
	if before != 0 {
		end, _ = slices.BinarySearchFunc(s.messages, before, func(m *Message, number int64) int { return cmp.Compare(m.Number, number) })
	}
	for _, message := range slices.Backward(s.messages[max(end-limit, 0):end]) {
		item := messageJobs{Message: shared(message)}
		if withJobs {
			item.jobs = s.jobsOf(message)
		}
		messages = append(messages, item)
	}
	return messages
}

// jobsOf returns the jobs of a message. The mutex is held.
func (s *Server) jobsOf(message *Message) []Job {
	jobs := make([]Job, 0, len(message.JobIDs))
	for _, id := range message.JobIDs {
		if j := s.findJob(id); j != nil {
			jobs = append(jobs, j.public())
		}
	}
	return jobs
}

// public returns the exported part of a job.
func (j *job) public() Job {
	return Job{
		ID: j.id, Topic: j.messages[0].Topic, ConsumerID: j.consumer.ID, Messages: len(j.messages),
		State: j.state, Attempts: j.attempts, DueAt: j.due,
	}
}

// MessageNumbered returns the message with a number; false if it does not exist or
// was forgotten.
func (o *Operator) MessageNumbered(number int64) (Message, bool) {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	index, found := slices.BinarySearchFunc(s.messages, number, func(m *Message, number int64) int { return int(m.Number - number) })
	if found {
		return shared(s.messages[index]), true
	}
	for j := range s.unsettled {
		for _, message := range j.messages {
			if message.Number == number {
				return shared(message), true
			}
		}
	}
	return Message{}, false
}

// shared copies a message but shares its texts.
func shared(m *Message) Message {
	copied := *m
	copied.JobIDs = slices.Clone(m.JobIDs)
	return copied
}

// JobStatuses returns the jobs with the ids, without forgotten ones.
func (o *Operator) JobStatuses(ids []int64) []JobStatus {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	underWay := make(map[int64]bool, len(s.flying)+len(s.ready))
	for j := range s.flying {
		underWay[j.id] = true
	}
	for _, j := range s.ready {
		underWay[j.id] = true
	}
	statuses := make([]JobStatus, 0, len(ids))
	for _, id := range ids {
		if j := s.findJob(id); j != nil {
			statuses = append(statuses, JobStatus{UnderWay: underWay[id], Target: withoutUserinfo(j.address()), Job: j.public()})
		}
	}
	return statuses
}

// RecentAttempts returns at most limit completed attempts with a number below
// before, or the newest if before is zero; only those for which wanted returns true,
// unless wanted is nil.
func (o *Operator) RecentAttempts(before int64, limit int, wanted func(Attempt) bool) []Attempt {
	return newest(before, limit, o.server.attemptsBelow, func(a Attempt) int64 { return a.Number }, wanted)
}

// attemptsBelow returns the newest attempts below a number, or of all if it is zero.
func (s *Server) attemptsBelow(before int64, limit int) []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := len(s.history)
	if before != 0 {
		end = int(min(max(before-s.attemptNumber(0), 0), int64(end)))
	}
	start := max(end-limit, 0)
	attempts := make([]Attempt, 0, end-start)
	for i, made := range slices.Backward(s.history[start:end]) {
		attempts = append(attempts, Attempt{Number: s.attemptNumber(start + i), Message: made.message.Number, Delivery: made.Delivery})
	}
	return attempts
}

// attemptNumber returns the number of the attempt at an index of the history. The
// caller holds the mutex.
func (s *Server) attemptNumber(index int) int64 {
	return int64(s.attempted - len(s.history) + index + 1)
}

// MessageCounts returns how many messages each topic has received, including
// forgotten ones.
func (o *Operator) MessageCounts() map[string]int {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.counts))
	for topic, count := range s.counts {
		counts[topic] = count
	}
	return counts
}

// ConsumerTotals returns the totals of each consumer by its id.
func (o *Operator) ConsumerTotals() map[int64]Totals {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := make(map[int64]Totals, len(s.consumers))
	oldest := s.lastJob + 1
	if len(s.jobs) > 0 {
		oldest = s.jobs[0].id
	}
	count := func(j *job) {
		total := totals[j.consumer.ID]
		switch j.state {
		case Pending:
			total.Waiting++
		case Delivered:
			total.Delivered++
		case Kept:
			total.Kept++
		case Cancelled:
			total.Cancelled++
		default:
			total.Failed++
		}
		totals[j.consumer.ID] = total
	}
	for _, j := range s.jobs {
		count(j)
	}
	for j := range s.unsettled {
		if j.id < oldest {
			count(j)
		}
	}
	return totals
}

// PublicTarget returns the target without userinfo, for display.
func (c Consumer) PublicTarget() string { return withoutUserinfo(c.Target) }

// PublicOriginHost returns the origin host without userinfo, for display.
func (t Topic) PublicOriginHost() string { return withoutUserinfo(t.OriginHost) }

// RecentRuns returns at most limit completed runs of the rescuer.
func (o *Operator) RecentRuns(limit int) []RescuerRun {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	var recent []RescuerRun
	for _, run := range slices.Backward(s.rescuerRuns) {
		if len(recent) >= limit {
			break
		}
		recent = append(recent, run.clone())
	}
	return recent
}
