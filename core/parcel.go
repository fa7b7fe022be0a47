package core

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// parcelKey is what messages of a batch have in common.
type parcelKey struct {
	topic, attributes string
	deliverAt         int64
	stored            bool
}

// parcel is a batch in the batcher.
type parcel struct {
	key   parcelKey
	batch batch
	// What was collected becomes the payloads of the batch when it is posted.
	buffers
	unpacked sync.Once
	// messages and bytes are what it counts for in the bounds of memory.
	messages, bytes int
	opened          time.Time
	sealed          bool
	// attempts counts the failed attempts of a retry, and errs are the failures
	// of the last one.
	attempts int
	errs     []*failure
	*settlement

	// The batcher's mutex guards the rest, once the batch is ready.

	ready bool          // it was sealed and takes no more messages
	age   *list.Element // in the batcher's list, while it may be in memory alone
	// ids are the ids of its rows in the outbox. Unless it is held, a commit has
	// failed, perhaps after it took effect.
	ids []string
	// held tells that the rows are in the outbox, held by the batcher's token
	// since the time leased.
	held       bool
	leased     time.Time
	committing bool // the rows are being committed
	// concluding tells that the post has ended. It keeps the batch from being
	// committed.
	concluding bool
	// posted is the result of a post that has ended before the commit.
	posted *delivery
	// neverFits tells that the batch exceeds the bound of the outbox.
	neverFits bool
}

// settlement is the end of a batch and of its retries.
type settlement struct {
	done chan struct{} // closed when all is delivered, stored or lost
	once sync.Once
	// lost counts the messages that were given up. It is written before done is
	// closed.
	lost int
}

func newSettlement() *settlement { return &settlement{done: make(chan struct{})} }

// settle ends the wait of Flush for the batch.
func (s *settlement) settle() { s.once.Do(func() { close(s.done) }) }

// buffers hold a bulk request as far as it is known, and where in it the
// payloads end, each before a comma.
type buffers struct {
	body []byte
	ends []int
}

// unpack makes the batch of what was collected. It may be called at any time
// once the batch is ready.
func (p *parcel) unpack() { p.unpacked.Do(p.unpackOnce) }

func (p *parcel) unpackOnce() {
	if p.body == nil {
		return
	}
	start := len(appendBulkHead(nil, p.batch.topic))
	p.batch.payloads = make([][]byte, len(p.ends))
	for i, end := range p.ends {
		p.batch.payloads[i] = p.body[start:end:end]
		start = end + len(",")
	}
	p.batch.bulk, p.batch.readers = appendBulkTail(p.body, p.batch.attributes), new(atomic.Int32)
	p.body = nil
}
