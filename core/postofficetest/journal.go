package postofficetest

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Changes are the changes of a server's records.
type Changes struct {
	// All means that Records are complete: delete the records that were kept before.
	All bool
	// Records are new, or replace earlier ones with the same key.
	Records []Record
	// Forgotten are the keys of records that no longer exist.
	Forgotten []RecordKey
}

// None reports whether there are no changes.
func (c Changes) None() bool { return !c.All && len(c.Records) == 0 && len(c.Forgotten) == 0 }

// Journal follows the data of a server, for programs that keep it beyond their end.
// See [Operator.Follow] for when to read it.
type Journal struct {
	server *Server

	mu      sync.Mutex
	started bool
	// The position up to which events were returned. Messages, jobs and attempts are
	// numbered in the order in which they are created.
	topics                            map[string]int // number of messages of the topic
	consumers                         map[int64]Consumer
	lastMessage, lastJob, lastAttempt int64
	messages                          map[int64]bool
	jobs                              map[int64]*job
	open                              map[int64]jobMark // jobs that may change
	firstMessage, firstJob            int64             // the start of the history at the last sweep
	firstAttempt                      int64
}

// jobMark is the variable part of a job.
type jobMark struct {
	state    JobState
	attempts int
	due      time.Time
	target   *string
}

func markOf(j *job) jobMark { return jobMark{j.state, j.attempts, j.due, j.target} }

// Journal returns a journal that has returned nothing yet.
func (o *Operator) Journal() *Journal {
	return &Journal{
		server: o.server, topics: make(map[string]int), consumers: make(map[int64]Consumer),
		messages: make(map[int64]bool), jobs: make(map[int64]*job), open: make(map[int64]jobMark),
		firstAttempt: 1,
	}
}

// Changes returns what has changed since the last call; everything on the first
// call. The result is consistent: for example, a job's messages are among the
// records returned so far.
func (j *Journal) Changes() Changes {
	j.mu.Lock()
	defer j.mu.Unlock()
	changes := Changes{All: !j.started}
	j.started = true
	taken := j.take(&changes)
	// Encode outside the server's lock: texts may be long, and their sources do not
	// change.
	for _, item := range taken {
		data, _ := json.Marshal(item.data) // strings, numbers and times always encode
		changes.Records = append(changes.Records, Record{item.key, data})
	}
	return changes
}

// item is a record that is not encoded yet.
type item struct {
	key  RecordKey
	data any
}

// take collects the changes.
func (j *Journal) take(changes *Changes) []item {
	s := j.server
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []item
	give := func(kind Kind, number int64, data any) {
		items = append(items, item{RecordKey{kind, number}, data})
	}
	for _, name := range s.topicNames {
		if count, known := j.topics[name]; !known || count != s.counts[name] {
			j.topics[name] = s.counts[name]
			t := s.topics[name]
			give(TopicRecord, t.ID, topicData{t.Name, t.OriginHost, t.RecoveryEnabled, s.counts[name]})
		}
	}
	for id, consumer := range s.consumers {
		if j.consumers[id] != *consumer {
			j.consumers[id] = *consumer
			give(ConsumerRecord, id, consumerData{
				consumer.Topic, consumer.Target, consumer.Type, consumer.Paused, consumer.Deleted, consumer.Timeout, consumer.ChunkSize,
			})
		}
	}
	giveMessage := func(m *Message) {
		if !j.messages[m.Number] {
			j.messages[m.Number] = true
			give(MessageRecord, m.Number, messageData{
				m.Topic, textOf(m.Payload), textOf(m.Attributes), m.Via, m.AcceptedAt, m.DeliverAt, m.JobIDs,
			})
		}
	}
	giveJob := func(one *job) {
		numbers := make([]int64, 0, len(one.messages))
		for _, message := range one.messages {
			giveMessage(message)
			numbers = append(numbers, message.Number)
		}
		give(JobRecord, one.id, jobData{
			numbers, one.consumer.ID, one.target, one.stateOf, one.state, one.attempts, one.due,
		})
		j.jobs[one.id] = one
		if one.state == Pending || one.state == GivenUp {
			j.open[one.id] = markOf(one)
		} else {
			delete(j.open, one.id)
		}
	}
	for id, mark := range j.open {
		if one := j.jobs[id]; markOf(one) != mark {
			giveJob(one)
		}
	}
	for _, message := range newSince(s.messages, func(m *Message) int64 { return m.Number }, j.lastMessage) {
		giveMessage(message)
	}
	fresh := newSince(s.jobs, func(one *job) int64 { return one.id }, j.lastJob)
	for _, one := range fresh {
		giveJob(one)
	}
	if len(fresh) == len(s.jobs) {
		// More may have been created than the history holds.
		for one := range s.unsettled {
			if one.id > j.lastJob && j.jobs[one.id] == nil {
				giveJob(one)
			}
		}
	}
	for i := max(0, int(j.lastAttempt-s.attemptNumber(0))+1); i < len(s.history); i++ {
		number, made := s.attemptNumber(i), s.history[i]
		giveMessage(made.message)
		reason := ""
		if made.Err != nil {
			reason = made.Err.Error()
		}
		give(AttemptRecord, number, attemptData{
			made.JobID, made.Attempt, made.message.Number, made.ConsumerID, made.Target, made.StartedAt, made.Status, reason,
		})
	}
	j.lastMessage, j.lastJob = s.lastMessage, s.lastJob
	j.sweep(changes)
	j.lastAttempt = int64(s.attempted)
	return items
}

// newSince returns the end of a list with numbers greater than last.
func newSince[T any](list []T, number func(T) int64, last int64) []T {
	first := len(list)
	for first > 0 && number(list[first-1]) > last {
		first--
	}
	return list[first:]
}

// sweep lists the records that the server has forgotten, if the history has moved.
// The caller holds the server's mutex.
func (j *Journal) sweep(changes *Changes) {
	s := j.server
	var firstMessage, firstJob int64
	if len(s.messages) > 0 {
		firstMessage = s.messages[0].Number
	}
	if len(s.jobs) > 0 {
		firstJob = s.jobs[0].id
	}
	firstAttempt := s.attemptNumber(0)
	if firstMessage == j.firstMessage && firstJob == j.firstJob && firstAttempt == j.firstAttempt {
		return
	}
	for number := j.firstAttempt; number < min(firstAttempt, j.lastAttempt+1); number++ {
		changes.Forgotten = append(changes.Forgotten, RecordKey{AttemptRecord, number})
	}
	j.firstMessage, j.firstJob, j.firstAttempt = firstMessage, firstJob, firstAttempt

	jobs := make(map[int64]bool, len(s.jobs))
	messages := make(map[int64]bool, len(s.messages))
	keep := func(one *job) {
		jobs[one.id] = true
		for _, message := range one.messages {
			messages[message.Number] = true
		}
	}
	for _, one := range s.jobs {
		keep(one)
	}
	for one := range s.unsettled {
		keep(one)
	}
	for _, message := range s.messages {
		messages[message.Number] = true
	}
	for _, made := range s.history {
		messages[made.message.Number] = true
	}
	for id := range j.jobs {
		if !jobs[id] {
			delete(j.jobs, id)
			delete(j.open, id)
			changes.Forgotten = append(changes.Forgotten, RecordKey{JobRecord, id})
		}
	}
	for number := range j.messages {
		if !messages[number] {
			delete(j.messages, number)
			changes.Forgotten = append(changes.Forgotten, RecordKey{MessageRecord, number})
		}
	}
	slices.SortFunc(changes.Forgotten, func(a, b RecordKey) int { return int(a.Number - b.Number) })
}
