package sqlite

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// bytesRead is how many bytes this process has read so far.
func bytesRead(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	require.NoError(t, err)
	_, err = fmt.Sscanf(string(text), "rchar: %d", &n)
	require.NoError(t, err)
	return n
}

// TestPayloadsThatAreLeftOutAreNotRead shows that a list without payloads reads
// none from the file, and that counting does not either.
func TestPayloadsThatAreLeftOutAreNotRead(t *testing.T) {
	store := opened(t, file(t))
	records := messages(t, 50)
	for i := range records {
		records[i].Payload = []byte(`{"x":"` + strings.Repeat("x", 100_000) + `"}`)
		records[i].Attributes = []byte(`{"x":"` + strings.Repeat("x", 100_000) + `"}`)
	}
	ids := make([]string, len(records))
	for i, record := range records {
		ids[i] = record.ID
	}
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	require.NoError(t, store.Close())
	for _, query := range []outbox.Query{{}, {Topic: records[0].Topic}, {IDs: ids}} {
		for most, check := range map[int]func(read int){
			-1: func(read int) { assert.Less(t, read, 1_000_000) },
			0:  func(read int) { assert.Greater(t, read, 50*200_000) },
		} {
			store = opened(t, store.path) // with a cold cache
			query.MaxPayload = most
			before := bytesRead(t)
			got, err := store.List(t.Context(), query)
			require.NoError(t, err)
			require.Len(t, got, 50)
			n, err := store.Count(t.Context(), outbox.Selection{Topic: records[0].Topic})
			require.NoError(t, err)
			assert.Equal(t, 50, n)
			check(bytesRead(t) - before)
			require.NoError(t, store.Close())
		}
	}
}
