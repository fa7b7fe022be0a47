package core_test

import (
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMemoryCoalescesMessagesOfManyRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		for range 20 {
			queueN(t, publisherIn(t, client, core.Memory), 20, core.Queued)
		}
		receipt, err := publisherIn(t, client, core.Memory).PublishBulk(t.Context(), "orders", numbered(99))
		require.NoError(t, err)
		assert.Equal(t, core.Receipt{State: core.Queued}, receipt)
		synctest.Wait()
		assert.Empty(t, payloadsOf(server, "orders"))
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 500, "a full batch is posted at once")

		queueN(t, publisherIn(t, client, core.Memory), 50, core.Queued)
		time.Sleep(core.DefaultBatchDelay - time.Millisecond)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 500)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 550)
		assert.LessOrEqual(t, len(server.Requests()), 1+maxShards)
		isEmpty(t, client)
	})
}

// together is a payload whose encoding waits until all of a group are encoded.
type together struct{ group *sync.WaitGroup }

func (p together) MarshalJSON() ([]byte, error) {
	p.group.Done()
	p.group.Wait()
	return []byte("{}"), nil
}

// publishTogether publishes messages in calls that are all under way at the
// same time.
func publishTogether(t *testing.T, p *core.Publisher, n int) {
	t.Helper()
	var group, calls sync.WaitGroup
	group.Add(n)
	for range n {
		calls.Go(func() {
			_, err := p.Publish(t.Context(), "orders", together{&group})
			assert.NoError(t, err)
		})
	}
	calls.Wait()
}

func TestConcurrentCallsShareABatchUnlessThereIsMuchToDo(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Batching.Payloads = 10
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		requests := func() int {
			time.Sleep(core.DefaultBatchDelay)
			synctest.Wait()
			return len(server.Requests())
		}
		publishTogether(t, p, 8)
		assert.Equal(t, 1, requests())
		queueN(t, p, 10, core.Queued) // a batch that is full at once
		synctest.Wait()
		require.Len(t, server.Requests(), 2)
		publishTogether(t, p, 8)
		assert.LessOrEqual(t, requests(), 2+maxShards)
		for range 2 { // the first of which is the end of much to do
			before := len(server.Requests())
			queueN(t, p, 1, core.Queued)
			assert.Equal(t, before+1, requests())
		}
		before := len(server.Requests())
		publishTogether(t, p, 8)
		assert.Equal(t, before+1, requests(), "batches are large again")
		assert.Len(t, payloadsOf(server, "orders"), 8+10+8+2+8)
		isEmpty(t, client)
	})
}

func TestMemoryChecksEveryTopic(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	p := publisherIn(t, client, core.Memory)
	for range 2 { // the second time with an encoder that has seen a topic
		for _, topic := range []string{"", " ", "a\x00b"} {
			runtime.GC() // twice, which leaves no encoder
			runtime.GC()
			for range 2 {
				_, err := p.Publish(t.Context(), topic, struct{}{})
				require.ErrorIs(t, err, core.ErrInvalidMessage, "%q", topic)
			}
		}
		queueN(t, p, 1, core.Queued)
	}
}

func TestMemoryKeepsApartWhatDiffers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		at := time.Now().Add(time.Hour)
		publish := func(topic string, options ...core.PublishOption) {
			for range 2 {
				_, err := p.Publish(t.Context(), topic, struct{}{}, options...)
				require.NoError(t, err)
			}
		}
		publish("orders")
		publish("bills")
		publish("orders", core.WithAttribute("region", "north"))
		publish("orders", core.DeliverAt(at))
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		paths := map[string]int{}
		for _, request := range server.Requests() {
			paths[request.Path]++
		}
		assert.Equal(t, map[string]int{"/api/bulk_messages": 3, "/api/schedule_messages": 2}, paths)
		scheduled := 0
		for _, message := range server.MessagesOf("orders") {
			if message.Via == postofficetest.Scheduled {
				assert.WithinDuration(t, at, message.DeliverAt, time.Microsecond)
				scheduled++
			}
		}
		assert.Equal(t, 2, scheduled)
	})
}

func TestBatchesAreBoundedByBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Batching.Bytes = 10_000
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		for range 25 {
			_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 1000)})
			require.NoError(t, err)
			time.Sleep(core.DefaultBatchDelay / 11) // slowly, so that all share a batch until it is full
		}
		synctest.Wait()
		assert.Len(t, server.Requests(), 2)
		assert.Len(t, payloadsOf(server, "orders"), 20)

		for range 3 {
			_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 5_000_000)})
			require.NoError(t, err)
		}
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 28)
		for _, request := range server.Requests() {
			assert.Equal(t, http.StatusCreated, request.Status, "no batch is larger than the server takes")
		}
	})
}

func TestEachBatchWaitsForItsOwnDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		const step = core.DefaultBatchDelay / 4
		posted := func(topic string) int {
			synctest.Wait()
			return len(payloadsOf(server, topic))
		}
		for _, topic := range []string{"orders", "bills"} {
			_, err := p.Publish(t.Context(), topic, struct{}{})
			require.NoError(t, err)
			time.Sleep(step)
		}
		time.Sleep(2 * step)
		assert.Equal(t, []int{1, 0}, []int{posted("orders"), posted("bills")})
		time.Sleep(step - time.Millisecond)
		assert.Zero(t, posted("bills"))
		time.Sleep(time.Millisecond)
		assert.Equal(t, 1, posted("bills"))
	})
}

func TestBatchingIsChecked(t *testing.T) {
	_, err := core.NewClient(core.Config{URL: testServer, Batching: core.Batching{
		Payloads: 3001, Bytes: -1, Delay: -1, InFlight: -1, MaxMessages: -1, MaxBytes: -1,
	}})
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	for _, field := range []string{"Payloads", "Bytes", "Delay", "InFlight", "MaxMessages", "MaxBytes"} {
		assert.ErrorContains(t, err, "Batching."+field+" is ")
	}
	_, err = core.NewClient(core.Config{URL: testServer, Batching: core.Batching{Delay: core.MaxBatchDelay + 1}})
	assert.ErrorContains(t, err, "Batching.Delay is ")
}
