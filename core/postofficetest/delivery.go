package postofficetest

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

const (
	// poolSize is the maximum number of concurrent deliveries of the real server.
	poolSize = 50
	// maxAttempts is the number of attempts after which a job is given up.
	maxAttempts = 100
	// snooze is how long the job of a paused consumer waits.
	snooze = 30 * time.Second
)

// JobState is the state of a job. The zero value is Pending, the initial state.
type JobState int

// States of a job.
const (
	// Pending jobs wait for their first or next attempt.
	Pending JobState = iota
	// Delivered jobs were acknowledged with a 2xx.
	Delivered
	// GivenUp jobs have failed 100 times.
	GivenUp
	// Discarded jobs belong to a consumer that was deleted.
	Discarded
	// Undeliverable jobs have a payload that is not an object, or no attributes. The
	// real server tries them 100 times and fails with an exception before it sends
	// anything.
	Undeliverable
	// Kept jobs belong to a pubsub consumer; this server does not deliver them.
	Kept
	// Cancelled jobs were ended by an operator.
	Cancelled
)

// String returns the state in lower case, such as "given up".
func (s JobState) String() string {
	names := [...]string{"pending", "delivered", "given up", "discarded", "undeliverable", "kept", "cancelled"}
	if s < 0 || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Job is one message, or one chunk of a bulk, for one consumer.
type Job struct {
	// ID is the message-id that the consumer gets on every attempt.
	ID int64
	// Topic and ConsumerID identify the consumer.
	Topic      string
	ConsumerID int64
	// Messages is the number of messages in the job: 1, or the size of a pubsub
	// consumer's chunk.
	Messages int
	// State is the state of the job, Attempts the number of its attempts.
	State    JobState
	Attempts int
	// DueAt is the time of a pending job's next attempt, by the server's clock.
	DueAt time.Time
}

// Delivery is one attempt to deliver a job to an HTTP consumer.
type Delivery struct {
	// JobID is the message-id header. Attempt counts from 1.
	JobID   int64
	Attempt int
	// Topic and ConsumerID identify the consumer. Target is the address, without
	// userinfo.
	Topic      string
	ConsumerID int64
	Target     string
	// StartedAt is the start of the attempt, by the server's clock.
	StartedAt time.Time
	// Body is the body that was sent.
	Body []byte
	// Status is the status of the consumer's answer; zero if there was none.
	Status int
	// Err says why there was no answer.
	Err error
}

// Acknowledged reports whether the consumer accepted the message.
func (d Delivery) Acknowledged() bool { return d.Err == nil && d.Status/100 == 2 }

// job is a Job with the data for its delivery.
type job struct {
	id       int64
	messages []*Message
	consumer *Consumer
	// target overrides the consumer's target; stateOf is the consumer whose pause or
	// deletion counts.
	target   *string
	stateOf  int64
	state    JobState
	attempts int
	due      time.Time
	order    uint64 // the order of starting, or of planning
}

// address returns the address of the job. The caller holds the mutex.
func (j *job) address() string {
	if j.target != nil {
		return *j.target
	}
	return j.consumer.Target
}

// attempt is a Delivery whose body is created on demand.
type attempt struct {
	Delivery
	message *Message
}

// deliveries are the planned, current and completed deliveries. The server's mutex
// guards them.
type deliveries struct {
	now        time.Time // constant unless the clock is real
	nextRescue time.Time
	planned    schedule
	plans      uint64
	// ready jobs wait for one of poolSize workers, flying ones are being delivered.
	// started counts both, to distinguish old from new.
	ready   []*job
	flying  map[*job]bool
	workers int
	started uint64
	// replanned wakes the goroutine that follows the wall clock.
	replanned chan struct{}

	history     []*attempt
	attempted   int
	requests    []*Request
	rescuerRuns []*RescuerRun
}

func newDeliveries(chosen settings) deliveries {
	now := chosen.now
	if now.IsZero() || chosen.realTime {
		now = time.Now()
	}
	return deliveries{
		now:        now,
		nextRescue: now.Add(rescueEvery),
		flying:     make(map[*job]bool),
		replanned:  make(chan struct{}, 1),
	}
}

// newJob creates a job without an id.
func newJob(consumer *Consumer, messages ...*Message) *job {
	created := &job{messages: messages, consumer: consumer, stateOf: consumer.ID}
	switch {
	case consumer.Type == TypePubSub:
		created.state = Kept
	case kindOf(messages[0].Payload) != '{' || messages[0].Attributes == nil:
		created.state = Undeliverable
	}
	return created
}

// plan schedules an attempt at a time, or now if that has passed. The caller holds
// the mutex.
func (s *Server) plan(j *job, at time.Time) {
	now := s.clock()
	j.due = now
	if at.After(now) {
		j.due = at
		s.plans++
		j.order = s.plans
		heap.Push(&s.planned, j)
		select {
		case s.replanned <- struct{}{}:
		default: // a wake-up is pending already
		}
		return
	}
	s.start(j)
}

// startDue starts the planned jobs that are due. The caller holds the mutex.
func (s *Server) startDue() {
	now := s.clock()
	for len(s.planned) > 0 && !s.planned[0].due.After(now) {
		s.start(heap.Pop(&s.planned).(*job))
	}
}

// start passes a job to the workers. The caller holds the mutex.
func (s *Server) start(j *job) {
	s.started++
	j.order = s.started
	s.ready = append(s.ready, j)
	if s.workers < poolSize && !s.closed {
		s.workers++
		s.tasks.Go(s.work)
	}
}

// settledUpTo reports whether no job started up to a number is ready or flying. The
// caller holds the mutex.
func (s *Server) settledUpTo(started uint64) bool {
	if len(s.ready) > 0 && s.ready[0].order <= started {
		return false
	}
	for j := range s.flying {
		if j.order <= started {
			return false
		}
	}
	return true
}

// work delivers ready jobs until there are none.
func (s *Server) work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 && !s.closed {
		j := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		s.flying[j] = true
		if s.mayGo(j) {
			s.try(j)
		}
		delete(s.flying, j)
		s.notify()
	}
	if len(s.ready) == 0 {
		s.ready = nil // release the array
	}
	s.workers--
}

// mayGo reports whether the job's consumer accepts deliveries, and settles the job
// if not. The caller holds the mutex.
func (s *Server) mayGo(j *job) bool {
	consumer := s.consumers[j.stateOf]
	switch {
	case consumer == nil || !consumer.Heeded:
		return true
	case consumer.Deleted:
		j.state = Discarded
		return false
	case consumer.Paused:
		s.plan(j, s.clock().Add(s.settings.gap(snooze)))
		return false
	}
	return true
}

// try makes one attempt. The caller holds the mutex; try releases it during the
// attempt.
func (s *Server) try(j *job) {
	j.attempts++
	message, target := j.messages[0], j.address()
	made := &attempt{message: message, Delivery: Delivery{
		JobID: j.id, Attempt: j.attempts, Topic: message.Topic, ConsumerID: j.consumer.ID,
		Target: withoutUserinfo(target), StartedAt: s.clock(),
	}}
	timeout := j.consumer.Timeout
	s.mu.Unlock()
	made.Status, made.Err = s.post(target, j.id, deliveryBody(message), timeout)
	s.mu.Lock()
	s.attempted++
	s.history = remember(s.history, made, s.settings.history)
	switch {
	case made.Acknowledged():
		j.state = Delivered
	case j.attempts >= maxAttempts:
		j.state = GivenUp
	default:
		s.plan(j, s.clock().Add(s.settings.gap(retryGap(j.attempts))))
	}
}

// errTimeout means that a timeout of zero or less has ended at once.
var errTimeout = errors.New("timeout is not positive")

// post sends a message to a consumer.
func (s *Server) post(target string, id int64, body []byte, timeout time.Duration) (int, error) {
	if timeout <= 0 {
		return 0, errTimeout
	}
	to, err := parseAddress(target)
	if err != nil {
		return 0, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	header[wire.MessageIDHeader] = []string{strconv.FormatInt(id, 10)} // in lower case, as recorded
	status, _, err := s.send(s.ctx, http.MethodPost, to, header, bytes.NewReader(body), s.wallClock(timeout))
	if err != nil {
		return 0, fmt.Errorf("postofficetest: no answer: %w", err)
	}
	return status, nil
}

// deliveryBody returns the body for a consumer: the payload including the
// attributes.
func deliveryBody(m *Message) []byte {
	body := treeOf(m.Payload)
	body.set(wire.AttributesKey, treeOf(m.Attributes))
	return body.rendered()
}

// retryGap returns how long the server waits after the nth failed attempt: 15 s plus
// a share that doubles with every fifth attempt. Recorded gaps vary randomly by up
// to a tenth; this server does not.
func retryGap(n int) time.Duration {
	return 15*time.Second + time.Duration(math.Exp2(math.Round(float64(n)/5)))*time.Second
}

// schedule is a heap of jobs by due time, then by the order of planning.
type schedule []*job

// Len implements heap.Interface.
func (s schedule) Len() int { return len(s) }

// Less implements heap.Interface.
func (s schedule) Less(i, j int) bool {
	if !s[i].due.Equal(s[j].due) {
		return s[i].due.Before(s[j].due)
	}
	return s[i].order < s[j].order
}

// Swap implements heap.Interface.
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *schedule) Push(j any) { *s = append(*s, j.(*job)) }

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	j := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return j
}
