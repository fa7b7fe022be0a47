package bench

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	topic = "orders"
	// mark is in every payload once, and nowhere else in a request: the
	// server counts messages by it.
	mark = "~"
	// payloadBytes is how long every payload is.
	payloadBytes = 300
)

// order is the payload.
type order struct {
	// Metadata is written by hand, for a message with an id.
	Metadata *metadata `json:"_postoffice,omitempty"`
	Mark     string    `json:"mark"`
	ID       int       `json:"id"`
	Customer customer  `json:"customer"`
	Placed   time.Time `json:"placed"`
	Express  bool      `json:"express"`
	Lines    []line    `json:"lines"`
	Note     string    `json:"note"`
}

type metadata struct {
	MessageID string `json:"message_id"`
}

// handmade is the metadata of every message by hand: it is as long as others, and
// takes no time to make.
var handmade = &metadata{"0197f0f2-6f4e-7c3b-9d57-000000000001"}

type customer struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

type line struct {
	Article  string  `json:"article"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

// lines are the lines of every order.
var lines = []line{{"AB-1042", 2, 19.99}, {"CD-2001", 1, 249.5}}

// newOrder makes the i-th order.
func newOrder(i int) order {
	return order{
		Mark:     mark,
		ID:       1_000_000 + i,
		Customer: customer{"Grace Hopper", "grace@example.com"},
		Placed:   time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC),
		Lines:    lines,
		Note:     "Leave it with the neighbours, if nobody opens.",
	}
}

// message is the body of a request by hand for one message.
type message struct {
	Topic      string            `json:"topic"`
	Payload    order             `json:"payload"`
	Attributes map[string]string `json:"attributes"`
	ScheduleAt *time.Time        `json:"schedule_at,omitempty"`
}

// bulk is the body of a request by hand for many.
type bulk struct {
	Topic      string            `json:"topic"`
	Payload    []order           `json:"payload"`
	Attributes map[string]string `json:"attributes"`
}

func TestOrder(t *testing.T) {
	encoded, err := json.Marshal(newOrder(7))
	require.NoError(t, err)
	require.Len(t, encoded, payloadBytes)
	require.Equal(t, 1, strings.Count(string(encoded), mark))
}
