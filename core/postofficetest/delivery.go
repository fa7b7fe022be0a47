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
	// poolSize is how many deliveries the real server has under way at most.
	poolSize = 50
	// maxAttempts is after how many attempts a job is given up.
	maxAttempts = 100
	// snooze is how long the job of a paused consumer waits.
	snooze = 30 * time.Second
)

// JobState is what became of a job. The zero value is Pending, the state in
// which a job begins.
type JobState int

// States of a job.
const (
	// Pending jobs wait for their first or next attempt.
	Pending JobState = iota
	// Delivered jobs were acknowledged with a 2xx.
	Delivered
	// GivenUp jobs failed 100 times.
	GivenUp
	// Discarded jobs belong to a consumer that was deleted meanwhile.
	Discarded
	// Undeliverable jobs have a payload that is no object, or no attributes.
	// The real server tries them 100 times and raises each time before it
	// sends anything.
	Undeliverable
	// Kept jobs belong to a pubsub consumer, to which this server sends
	// nothing.
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

// Job is one message, or one chunk of a bulk, on its way to one consumer.
type Job struct {
	// ID is the message-id that the consumer sees, on every attempt.
	ID int64
	// Topic and ConsumerID say whose job it is.
	Topic      string
	ConsumerID int64
	// Messages is how many messages it carries: 1, or the size of a pubsub
	// consumer's chunk.
	Messages int
	// State is what became of it, Attempts how often it was tried.
	State    JobState
	Attempts int
	// DueAt is when a pending job is tried next, by the server's clock.
	DueAt time.Time
}

// Delivery is one attempt to deliver a job to an HTTP consumer.
type Delivery struct {
	// JobID is the message-id header, Attempt counts from 1.
	JobID   int64
	Attempt int
	// Topic and ConsumerID say whose delivery it was, Target where it went,
	// without userinfo.
	Topic      string
	ConsumerID int64
	Target     string
	// StartedAt is when it started, by the server's clock.
	StartedAt time.Time
	// Body is what was sent.
	Body []byte
	// Status is the consumer's answer; zero when there was none.
	Status int
	// Err says why there was no answer.
	Err error
}

// Acknowledged reports whether the consumer took the message.
func (d Delivery) Acknowledged() bool { return d.Err == nil && d.Status/100 == 2 }

// job is a Job with what its delivery needs.
type job struct {
	id       int64
	messages []*Message
	consumer *Consumer
	// target overrides the consumer's; stateOf is the consumer whose pause
	// or deletion counts.
	target   *string
	stateOf  int64
	state    JobState
	attempts int
	due      time.Time
	order    uint64 // when it was started, or planned
}

// address is where the job goes. The mutex is held.
func (j *job) address() string {
	if j.target != nil {
		return *j.target
	}
	return j.consumer.Target
}

// attempt is a Delivery whose body is made when it is asked for.
type attempt struct {
	Delivery
	message *Message
}

// deliveries is what goes out, and what went. It is guarded by the server's
// mutex.
type deliveries struct {
	now        time.Time // stands still unless the clock is real
	nextRescue time.Time
	planned    schedule
	plans      uint64
	// ready jobs wait for one of poolSize workers, flying ones are under
	// way. started counts both, to tell old from new.
	ready   []*job
	flying  map[*job]bool
	workers int
	started uint64
	// replanned wakes the wall clock.
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

// newJob makes a job without an id.
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

// plan sees to an attempt at the given time, or now if that is past. The
// mutex is held.
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
		default: // the clock is about to look anyway
		}
		return
	}
	s.start(j)
}

// startDue starts the planned jobs whose time has come. The mutex is held.
func (s *Server) startDue() {
	now := s.clock()
	for len(s.planned) > 0 && !s.planned[0].due.After(now) {
		s.start(heap.Pop(&s.planned).(*job))
	}
}

// start hands a job to the workers. The mutex is held.
func (s *Server) start(j *job) {
	s.started++
	j.order = s.started
	s.ready = append(s.ready, j)
	if s.workers < poolSize && !s.closed {
		s.workers++
		s.tasks.Go(s.work)
	}
}

// settledUpTo reports whether no job started up to then is ready or flying.
// The mutex is held.
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
		s.ready = nil // lets go of the array
	}
	s.workers--
}

// mayGo reports whether the job's consumer takes deliveries, and settles the
// job if not. The mutex is held.
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

// try makes one attempt. The mutex is held, and let go meanwhile.
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

// errTimeout means that a timeout of zero or less was over at once.
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
	header[wire.MessageIDHeader] = []string{strconv.FormatInt(id, 10)} // in lower case, as it was seen
	status, _, err := s.send(s.ctx, http.MethodPost, to, header, bytes.NewReader(body), s.wallClock(timeout))
	if err != nil {
		return 0, fmt.Errorf("postofficetest: no answer: %w", err)
	}
	return status, nil
}

// deliveryBody is what a consumer receives: the payload with the attributes
// in it.
func deliveryBody(m *Message) []byte {
	body := treeOf(m.Payload)
	body.set(wire.AttributesKey, treeOf(m.Attributes))
	return body.rendered()
}

// retryGap is how long the server waits after the nth failed attempt: 15 s
// and a share that doubles with every fifth attempt. Recorded gaps lay within
// a tenth of it on either side, at random, which this server leaves out.
func retryGap(n int) time.Duration {
	return 15*time.Second + time.Duration(math.Exp2(math.Round(float64(n)/5)))*time.Second
}

// schedule is a heap of jobs by due time, then by the order of planning.
type schedule []*job

// Len is part of heap.Interface.
func (s schedule) Len() int { return len(s) }

// Less is part of heap.Interface.
func (s schedule) Less(i, j int) bool {
	if !s[i].due.Equal(s[j].due) {
		return s[i].due.Before(s[j].due)
	}
	return s[i].order < s[j].order
}

// Swap is part of heap.Interface.
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push is part of heap.Interface.
func (s *schedule) Push(j any) { *s = append(*s, j.(*job)) }

// Pop is part of heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	j := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return j
}
