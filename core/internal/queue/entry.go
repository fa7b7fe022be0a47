package queue

import (
	"container/list"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// key identifies the open batch that a message belongs to.
type key struct {
	topic, attributes string
	deliverAt         int64
	stored            bool
}

// entry is a batch in the queue.
type entry struct {
	key   key
	batch message.Batch
	// collector collects the payloads until close turns them into the messages
	// of the batch. body is the request body built from them.
	collector *office.Collector
	body      *office.Collected
	// ids has an ID, possibly empty, for each message once a message has one.
	ids    []string
	closed sync.Once
	// messages and bytes are the size of the batch for the bounds of memory.
	messages, bytes int
	opened          time.Time
	sealed          bool
	// attempts counts the failed attempts before a retry, and failures are the
	// results of the last one.
	attempts int
	failures []*office.Failure
	*settlement

	// Once the batch is ready, the queue's mutex guards the fields below.

	ready bool          // sealed: it accepts no more messages
	age   *list.Element // in the queue's list, while the batch may be only in memory
	// unsure means that a commit failed but may have taken effect.
	unsure bool
	// held means that the rows are in the outbox, leased with the queue's token
	// since the time leased.
	held       bool
	leased     time.Time
	committing bool // the rows are being committed
	// concluding means that the post has ended. It prevents a commit of the
	// batch.
	concluding bool
	// posted is the outcome of a post that ended during the commit.
	posted *deliver.Outcome
	// neverFits means that the batch exceeds the bound of the outbox.
	neverFits bool
}

// settlement is the final state of a batch and its retries.
type settlement struct {
	done chan struct{} // closed when all messages are delivered, stored or lost
	once sync.Once
	// lost counts the lost messages. It is written before done is closed.
	lost int
}

func newSettlement() *settlement { return &settlement{done: make(chan struct{})} }

// settle ends the wait of Flush for the batch.
func (s *settlement) settle() { s.once.Do(func() { close(s.done) }) }

// close turns the collected payloads into the messages of the batch. It may be
// called repeatedly once the batch is ready.
func (e *entry) close() {
	e.closed.Do(func() {
		if e.collector == nil {
			return
		}
		e.body = e.collector.Finish(&e.batch)
		for i, id := range e.ids {
			e.batch.Messages[i].ID = id
		}
	})
}
