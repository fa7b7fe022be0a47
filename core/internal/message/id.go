package message

import (
	"fmt"

	"github.com/google/uuid"
)

// dedupSpace is the name space (RFC 9562, section 5.5) for IDs that are derived
// from deduplication keys.
var dedupSpace = uuid.MustParse("c3cbe718-2c69-494e-888e-c1a18f5f69e5")

// NewID returns a new message ID, a UUIDv7. It fails if the system cannot
// provide random numbers.
func NewID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("creating a message id: %w", err)
	}
	return id.String(), nil
}

// KeyID returns the ID of a topic's deduplication key, a UUIDv5: equal keys of
// a topic have equal IDs.
func KeyID(topic, dedupKey string) string {
	return uuid.NewSHA1(dedupSpace, []byte(topic+"\x00"+dedupKey)).String()
}
