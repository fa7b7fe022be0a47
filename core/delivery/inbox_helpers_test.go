package delivery_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// inBubbles runs a test in a bubble, with each store that can be in one.
func inBubbles(t *testing.T, test func(t *testing.T, store outbox.Keeper)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, memory.New()) })
	})
	t.Run("sqlite", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "inbox.db"))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			test(t, store)
		})
	})
}

// newInbox returns an inbox that is stopped when the test ends.
func newInbox(t *testing.T, store outbox.Keeper, options delivery.InboxOptions) *delivery.Inbox {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	inbox, err := delivery.NewInbox(store, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		require.NoError(t, inbox.Stop(ctx))
	})
	return inbox
}

// startedInbox returns an inbox that works.
func startedInbox(t *testing.T, store outbox.Keeper, options delivery.InboxOptions) *delivery.Inbox {
	t.Helper()
	inbox := newInbox(t, store, options)
	require.NoError(t, inbox.Start(t.Context()))
	return inbox
}

// queued returns a handler of orders of a topic.
func queued(inbox *delivery.Inbox, topic string, handle func(context.Context, delivery.Message[order]) error, options ...delivery.Option) http.Handler {
	return delivery.Queued(inbox, handle, append([]delivery.Option{quiet(), delivery.WithTopic(topic)}, options...)...)
}

// give posts an order within the process as the server does, and returns the
// status. The number is the order's id and that of the delivery.
func give(t *testing.T, handler http.Handler, number int) int {
	t.Helper()
	return giveBody(t, handler, number, fmt.Sprintf(`{"id":%d,"attributes":{"region":"north"}}`, number))
}

func giveBody(t *testing.T, handler http.Handler, number int, body string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/consume", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if number != 0 {
		r.Header.Set("message-id", fmt.Sprint(number))
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Code
}

// calls notes calls of functions and of observers.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf(format, args...))
}

// take returns the notes and forgets them.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// statsOf returns the counts of an inbox.
func statsOf(t *testing.T, inbox *delivery.Inbox) outbox.Stats {
	t.Helper()
	stats, err := inbox.Stats(t.Context())
	require.NoError(t, err)
	return stats
}
