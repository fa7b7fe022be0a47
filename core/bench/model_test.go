package bench

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// The cost model of the real server: a request holds one of the workers for
// requestCost, and for payloadCost for each payload. Requests that wait for a
// worker are served in the order in which they arrived.
const (
	modelWorkers = 2
	requestCost  = 1500 * time.Microsecond
	payloadCost  = 120 * time.Microsecond
)

// model spends the time of requests.
type model struct {
	requests chan modelRequest
	sleep    func(time.Duration)
}

// modelRequest waits for a worker.
type modelRequest struct {
	arrived  time.Time
	payloads int
	done     chan struct{}
}

func newModel() *model {
	// A worker occupies a thread while it sleeps, and with it, for a while, one
	// of the threads that run goroutines.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + modelWorkers)
	return startModel(sleep)
}

func startModel(sleep func(time.Duration)) *model {
	m := &model{requests: make(chan modelRequest), sleep: sleep}
	for range modelWorkers {
		go m.run()
	}
	return m
}

// work spends the time of a request.
func (m *model) work(payloads int) {
	done := make(chan struct{})
	m.requests <- modelRequest{time.Now(), payloads, done} // senders wait in order
	<-done
}

// run is a worker. The next request begins when the last one should have ended,
// so that sleeping for too long does not make the model slower.
func (m *model) run() {
	var free time.Time
	for r := range m.requests {
		if free.Before(r.arrived) {
			free = r.arrived
		}
		free = free.Add(requestCost + time.Duration(r.payloads)*payloadCost)
		for left := time.Until(free); left > 0; left = time.Until(free) {
			m.sleep(left)
		}
		close(r.done)
	}
}

func TestModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startModel(func(d time.Duration) { time.Sleep(d + time.Millisecond) })
		defer close(m.requests)
		start := time.Now()
		m.work(10)
		const one = requestCost + 10*payloadCost
		assert.Equal(t, one+time.Millisecond, time.Since(start), "it sleeps for a millisecond too long")

		start = time.Now()
		spread(20, 20, func(int, int, int) { m.work(10) })
		assert.Equal(t, 10*one+time.Millisecond, time.Since(start), "which adds up to no more")
	})
}
