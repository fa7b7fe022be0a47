package outbox

import (
	"context"
	"fmt"
)

// TopicCount is the number of records of a topic.
type TopicCount struct {
	Topic string
	// Pending and Dead count the records of each state.
	Pending, Dead int
	// Held counts the pending records whose lease has not ended.
	Held int
}

// TopicCounter is a store that counts its records by topic. All stores of this
// module do.
type TopicCounter interface {
	Store

	// CountTopics returns the topics with the most records, at most limit: the
	// largest first, and topics of the same size by the bytes of their names. It
	// reads an index of all records, as Stats may: it is for people. limit must be
	// positive.
	CountTopics(ctx context.Context, limit int) ([]TopicCount, error)
}

// ValidateCountTopics checks the argument of CountTopics, for
// stores. The error is ErrInvalid and names it.
func ValidateCountTopics(limit int) error {
	if limit <= 0 {
		return fmt.Errorf("%w: limit is %d, not positive", ErrInvalid, limit)
	}
	return nil
}
