package core

import (
	"sync"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// encoder encodes the messages of one call.
type encoder struct {
	*message.Encoder
	// turn differs between encoders, so that concurrent calls use different
	// shards of the queue.
	turn uint32
	// topic is the last topic that was checked, because consecutive messages
	// usually have the same topic.
	topic string
	// options are the options of the call.
	options publishOptions
}

// encoders is the pool of a client's encoders.
type encoders struct{ pool sync.Pool }

func newEncoders(marshal func(any) ([]byte, error), metadataInPayload bool) *encoders {
	var made atomic.Uint32
	return &encoders{sync.Pool{New: func() any {
		return &encoder{Encoder: message.NewEncoder(marshal, metadataInPayload), turn: made.Add(1)}
	}}}
}

// get returns an encoder. The caller must put it back.
func (e *encoders) get() *encoder { return e.pool.Get().(*encoder) }

// put returns an encoder to the pool. Its results must not be used afterwards.
func (e *encoders) put(used *encoder) {
	used.Reset()
	used.options.reset()
	e.pool.Put(used)
}
