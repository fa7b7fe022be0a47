package ginpo_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/ginpo"
)

// brokenStore is an outbox that cannot be written.
type brokenStore struct{ *memory.Store }

func (brokenStore) Insert(context.Context, time.Duration, ...outbox.Record) error {
	return errors.New("disk is full")
}

// TestStatusInsteadOfTheHandlers has a NotAccepted that sends a status without a
// body, and a handler that sets others afterwards.
func TestStatusInsteadOfTheHandlers(t *testing.T) {
	client, err := core.NewClient(core.Config{
		URL: "http://postoffice.test", Outbox: brokenStore{memory.New()}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
	engine := newEngine(false)
	engine.Use(ginpo.Middleware(client, ginpo.Options{
		AfterResponse: core.Durable, FlushOn: core.Committed,
		NotAccepted: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}))
	engine.GET("/", func(c *gin.Context) {
		_, err := ginpo.FromContext(c).PublishBulk(c.Request.Context(), "orders", []any{map[string]int{}, map[string]int{}})
		assert.NoError(t, err)
		c.JSON(http.StatusCreated, gin.H{})
		c.Status(http.StatusNoContent)
		c.Header("X-Of", "handler")
	})
	answer := request(t, engine, http.MethodGet, "/")
	assert.Equal(t, http.StatusBadGateway, answer.Code)
	assert.Empty(t, answer.Header())
	assert.Empty(t, answer.Body.String())
}
