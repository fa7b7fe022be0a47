package core

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// A topic that is misspelt is told once, at error level, with the one that is
// meant; the outbox shows it for as long as the messages wait.
func TestMisspeltTopicIsToldOnce(t *testing.T) {
	const problem = `neither the server nor Config.Topics has this topic; did you mean "orders"?`
	one := func(mode Mode) func(*testing.T, *Client) error {
		return func(t *testing.T, c *Client) error {
			_, err := publisherIn(t, c, mode).Publish(t.Context(), "ordres", struct{}{})
			return err
		}
	}
	for name, publish := range map[string]func(*testing.T, *Client) error{
		"off":     one(Off),
		"durable": one(Durable),
		"memory":  one(Memory),
		"bulk": func(t *testing.T, c *Client) error {
			_, err := c.PublishBulk(t.Context(), "ordres", Payloads(make([]struct{}, 3)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *postofficetest.Server, config Config) {
				var log logText
				var seen events
				config.Logger = log.logger()
				config.Outbox, config.Observer = memory.New(), seen.observer()
				config.Topics, config.OriginHost = []string{"bills", "orders"}, origin
				client := startTestClient(t, config)
				for range 3 {
					require.NoError(t, publish(t, client))
					time.Sleep(time.Hour)
				}
				synctest.Wait()
				list := records(t, config.Outbox)
				require.NotEmpty(t, list)
				for _, record := range list {
					assert.Contains(t, record.LastError, `for topic "ordres": `)
					assert.Contains(t, record.LastError, problem)
				}
				require.NotEmpty(t, seen.of("failed"))
				for _, event := range seen.of("failed") {
					assert.Equal(t, FailureConfig, event.Class)
					require.ErrorContains(t, event.Err, problem)
				}
				var errors []string
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, "level=ERROR") {
						errors = append(errors, line)
					}
				}
				require.Len(t, errors, 1)
				assert.Contains(t, errors[0], "topic is unknown: its messages cannot be delivered; neither the server nor Config.Topics has this topic")
				assert.Contains(t, errors[0], `did you mean \"orders\"?`)
				assert.Contains(t, errors[0], "topic=ordres")
			})
		})
	}
}

// A topic of Config.Topics that the server has lost is created, and not called
// misspelt where that fails.
func TestConfiguredTopicIsNotMisspelt(t *testing.T) {
	server := postofficetest.Start(t)
	client := newTestClient(t, Config{URL: server.URL(), Topics: []string{"orders"}, OriginHost: origin})
	client.ensured.allow("orders") // as if it was tried a moment ago
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.EqualError(t, err, `postoffice: message not accepted: server answered 400 for topic "orders": topic is invalid`)
}

func TestNearestTopic(t *testing.T) {
	known := []string{"bills", "orders", "order.paid", "x", "größe"}
	for name, want := range map[string]string{
		"ordres": "orders", "order": "orders", "ORDERS": "orders", "orders ": "orders",
		"orderPaid": "order.paid", "order_paid": "order.paid", "orders/paid": "order.paid", "ordr-paid": "order.paid",
		"bill": "bills", "X": "x", "grösse": "", "groesse": "",
		"y": "", "": "", "invoices": "", "payments": "", strings.Repeat("orders", 100): "",
	} {
		nearest, ok := nearestTopic(name, known)
		assert.Equal(t, want, nearest, "%q", name)
		assert.Equal(t, want != "", ok)
	}
}

// Names that come from outside do not fill the memory, nor the log.
func TestUnknownTopicsAreRememberedWithinBounds(t *testing.T) {
	var s strangers
	told := 0
	for range 2 {
		for i := range 2 * maxStrangers {
			hint, first := s.meet(fmt.Sprint("unknown ", i), nil)
			assert.Equal(t, "neither the server nor Config.Topics has this topic", hint)
			if first {
				told++
			}
		}
	}
	assert.Equal(t, maxStrangers, told)
	assert.Len(t, s.hints, maxStrangers)
}
