package core

import (
	"sync"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/message"
)

// encoder encodes the messages of one call.
type encoder struct {
	*message.Encoder
	// turn differs between encoders, so concurrent calls have different ones.
	turn uint32
	// topic is the last topic that was checked. Consecutive messages usually
	// have the same.
	topic string
	// options are those of the call.
	options publishOptions
}

// encoders are the encoders of a client that no call uses.
type encoders struct{ pool sync.Pool }

func newEncoders(marshal func(any) ([]byte, error), metadataInPayload bool) *encoders {
	var made atomic.Uint32
	return &encoders{sync.Pool{New: func() any {
		return &encoder{Encoder: message.NewEncoder(marshal, metadataInPayload), turn: made.Add(1)}
	}}}
}

// take returns an encoder. The caller must give it back.
func (e *encoders) take() *encoder { return e.pool.Get().(*encoder) }

// giveBack makes an encoder available to other calls. Its results must not be
// used afterwards.
func (e *encoders) giveBack(used *encoder) {
	used.Reset()
	used.options.reset()
	e.pool.Put(used)
}
