package core_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// A topic that is misspelt is told once, at error level, with the one that is
// meant; the outbox shows it for as long as the messages wait.
func TestMisspeltTopicIsToldOnce(t *testing.T) {
	const problem = `neither the server nor Config.Topics has this topic; did you mean "orders"?`
	one := func(mode core.Mode) func(*testing.T, *core.Client) error {
		return func(t *testing.T, c *core.Client) error {
			_, err := publisherIn(t, c, mode).Publish(t.Context(), "ordres", struct{}{})
			return err
		}
	}
	for name, publish := range map[string]func(*testing.T, *core.Client) error{
		"off":     one(core.Off),
		"durable": one(core.Durable),
		"memory":  one(core.Memory),
		"bulk": func(t *testing.T, c *core.Client) error {
			_, err := c.PublishBulk(t.Context(), "ordres", core.Payloads(make([]struct{}, 3)))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
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
					assert.Equal(t, core.FailureConfig, event.Class)
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
	server.FailWhen(func(r *http.Request, _ []byte) (int, bool) {
		return http.StatusInternalServerError, r.URL.Path == "/api/topics"
	})
	client := newTestClient(t, core.Config{URL: server.URL(), Topics: []string{"orders"}, OriginHost: origin})
	for range 2 { // the second time a moment later, when it is not tried
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.EqualError(t, err, `postoffice: message not accepted: server answered 400 for topic "orders": topic is invalid`)
	}
}

func TestNearestTopicIsSuggested(t *testing.T) {
	server := postofficetest.Start(t)
	client := newTestClient(t, core.Config{
		URL: server.URL(), OriginHost: origin, Topics: []string{"bills", "orders", "order.paid", "x", "größe"},
	})
	for name, want := range map[string]string{
		"ordres": "orders", "order": "orders", "ORDERS": "orders", "orders ": "orders",
		"orderPaid": "order.paid", "order_paid": "order.paid", "orders/paid": "order.paid", "ordr-paid": "order.paid",
		"bill": "bills", "X": "x", "grösse": "", "groesse": "",
		"y": "", "invoices": "", "payments": "", strings.Repeat("orders", 40): "", strings.Repeat("é", 200): "", "-": "",
	} {
		_, err := client.Publish(t.Context(), name, struct{}{})
		require.ErrorContains(t, err, "neither the server nor Config.Topics has this topic", "%q", name)
		if want == "" {
			assert.NotContains(t, err.Error(), "did you mean", "%q", name)
		} else {
			assert.ErrorContains(t, err, fmt.Sprintf("did you mean %q?", want), "%q", name)
		}
	}
}

// Names that come from outside do not fill the memory, nor the log.
func TestUnknownTopicsAreRememberedWithinBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		var log logText
		config.Logger = log.logger()
		client := newTestClient(t, config)
		for range 2 {
			for i := range 2 * maxUnknownTopics {
				_, err := client.Publish(t.Context(), fmt.Sprint("unknown ", i), struct{}{})
				require.ErrorContains(t, err, "neither the server nor Config.Topics has this topic")
			}
			assert.Equal(t, maxUnknownTopics, strings.Count(log.String(), "topic is unknown"))
			time.Sleep(time.Hour) // long after the log leaves out what it has told
		}
	})
}
