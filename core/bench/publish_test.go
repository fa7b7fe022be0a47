package bench

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// newClient makes a client of a server, as an app would, except that it logs
// nothing.
func newClient(tb testing.TB, server *helper, config core.Config) *core.Client {
	config.URL = "http://" + server.address
	config.Logger = slog.New(slog.DiscardHandler)
	client, err := core.NewClient(config)
	require.NoError(tb, err)
	return client
}

// stop stops a client, which must have delivered or stored everything.
func stop(tb testing.TB, client *core.Client) {
	require.NoError(tb, client.Stop(tb.Context()))
}

// publishScenarios are single messages posted within the call.
func publishScenarios(server *helper) []scenario {
	var scenarios []scenario
	for _, concurrency := range []int{1, 16, 64} {
		scenarios = append(scenarios, scenario{
			name: fmt.Sprintf("concurrency=%d", concurrency),
			sides: []side{
				{"floor", func(testing.TB) job {
					hand := newByHand(server.address, core.DefaultTimeout)
					run := func(tb testing.TB, n int) figures {
						return counted(tb, server, n, func() {
							spread(n, concurrency, func(_, first, count int) {
								for i := range count {
									body := message{topic, newOrder(first + i), map[string]string{}}
									assert.NoError(tb, hand.post(tb.Context(), "/api/messages", body))
								}
							})
						})
					}
					return job{run, hand.close}
				}},
				{"ours", func(tb testing.TB) job {
					client := newClient(tb, server, core.Config{})
					run := func(tb testing.TB, n int) figures {
						return counted(tb, server, n, func() {
							spread(n, concurrency, func(_, first, count int) {
								for i := range count {
									_, err := client.Publish(tb.Context(), topic, newOrder(first+i))
									assert.NoError(tb, err)
								}
							})
						})
					}
					return job{run, func(tb testing.TB) { stop(tb, client) }}
				}},
			},
		})
	}
	return scenarios
}
