package core_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestLastHour(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := startTestClient(t, config)
		born := time.Now()
		var status atomic.Int32
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return int(status.Load()), status.Load() != 0 })
		publish := func(topic string) {
			t.Helper()
			_, err := client.Publish(t.Context(), topic, map[string]any{})
			require.NoError(t, err)
		}

		publish("orders")
		_, err := client.PublishBulk(t.Context(), "orders", core.Payloads([]map[string]any{{}, {}, {}}))
		require.NoError(t, err)
		assert.Equal(t, []core.Minute{{Begin: born, Delivered: 4}}, client.LastHour())

		time.Sleep(59*time.Second + 999*time.Millisecond)
		status.Store(http.StatusBadRequest)
		publish("orders")
		assert.Equal(t, []core.Minute{{Begin: born, Delivered: 4, Dead: 1}}, client.LastHour(), "the minute is not over")
		time.Sleep(time.Millisecond)
		status.Store(http.StatusServiceUnavailable)
		publish("orders")
		publish("bills")
		assert.Equal(t, []core.Minute{
			{Begin: born, Delivered: 4, Dead: 1}, {Begin: born.Add(time.Minute), Stored: 2},
		}, client.LastHour())

		status.Store(0)
		time.Sleep(time.Minute) // more than enough for the relay
		hour := client.LastHour()
		require.Len(t, hour, 3)
		assert.Equal(t, 2, hour[1].Delivered+hour[2].Delivered, "what the relay delivers counts: %v", hour)

		time.Sleep(57*time.Minute + 59*time.Second)
		hour = client.LastHour()
		require.Len(t, hour, minutes)
		assert.Equal(t, core.Minute{Begin: born, Delivered: 4, Dead: 1}, hour[0])
		time.Sleep(time.Second)
		hour = client.LastHour()
		require.Len(t, hour, minutes)
		assert.Equal(t, born.Add(time.Minute), hour[0].Begin, "the oldest minute leaves")
		publish("orders")
		assert.Equal(t, core.Minute{Begin: born.Add(60 * time.Minute), Delivered: 1}, client.LastHour()[minutes-1], "its room is used again")

		time.Sleep(5 * time.Hour)
		for _, minute := range client.LastHour() {
			assert.Zero(t, minute.Delivered+minute.Stored+minute.Dead, "nothing is left of it: %v", minute)
		}
	})
}

func TestLastHourCountsWithoutOutboxAndRecovery(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		refused := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusBadRequest, true })
		_, err := publisherIn(t, refused, core.Memory).Publish(t.Context(), "orders", map[string]any{})
		require.NoError(t, err)
		require.NoError(t, refused.Flush(t.Context()))
		assert.Equal(t, 1, refused.LastHour()[0].Dead, "dropped for want of an outbox")

		config.Outbox, config.OriginHost = memory.New(), origin
		require.NoError(t, config.Outbox.Insert(t.Context(), 0, stored(someID)))
		recovered := newTestClient(t, config)
		answer := ask(recovered.RecoveryHandler(), http.MethodDelete, "/postoffice/messages/"+someID+"/", "us@er", "p:ss")
		require.Equal(t, http.StatusNoContent, answer.Code)
		assert.Equal(t, 1, recovered.LastHour()[0].Delivered, "what the rescuer took")
	})
}
