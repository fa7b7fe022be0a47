package memory_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/outboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(*testing.T) outbox.Store { return memory.New() }

func bounded(_ *testing.T, maxRecords int, maxBytes int64) outbox.Store {
	return memory.New(memory.WithMaxRecords(maxRecords), memory.WithMaxBytes(maxBytes))
}

func TestStoreInBubble(t *testing.T) {
	outboxtest.Run(t, open, outboxtest.InBubble(), outboxtest.Bounded(bounded))
}

// TestStore shows that the suite serves stores that no bubble can hold, too.
func TestStore(t *testing.T) {
	outboxtest.Run(t, open, outboxtest.Bounded(bounded))
}

func Example() {
	ctx := context.Background()
	store := memory.New(memory.WithMaxRecords(1000))
	record := outbox.Record{
		ID:         "019a2b3c-4d5e-7f60-8172-839405162738",
		Topic:      "orders",
		Payload:    json.RawMessage(`{"id":1}`),
		Attributes: json.RawMessage(`{}`),
	}
	if err := store.Insert(ctx, 0, record); err != nil {
		fmt.Println(err)
		return
	}
	claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 10, Lease: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claimed[0].Topic, string(claimed[0].Payload), claimed[0].Attempts)
	// Output: orders {"id":1} 1
}

func TestNewPassesOverANilOption(t *testing.T) {
	require.NoError(t, memory.New(nil, memory.WithMaxRecords(1)).Check(t.Context()))
}
