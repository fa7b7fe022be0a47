package core_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// forgetful is a server that does not know the topic when a request comes, by
// its number, and gives poison messages 400.
func forgetful(at int) *bubbleServer {
	posts := 0
	return &bubbleServer{judge: func(p post) verdict {
		posts++
		switch {
		case posts == at:
			return verdict{status: http.StatusNotAcceptable}
		case p.has("poison"):
			return verdict{status: http.StatusBadRequest}
		}
		return taken
	}}
}

// A topic that the server forgets while a delivery is under way is created, and
// only what was not delivered is sent again. The receipt tells all jobs.
func TestTopicForgottenMidway(t *testing.T) {
	for _, at := range []int{1, 2, 3, 5} {
		for _, poison := range []int{0, 3} {
			for _, way := range []string{"bulk call", "Durable", "Memory", "relay"} {
				t.Run(fmt.Sprintf("request %d/%d at fault/%s", at, poison, way), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server, store := forgetful(at), memory.New()
						client, _ := bubbleClient(t, server, core.Config{
							Outbox: store, BulkLimit: 4, Topics: []string{"orders"}, OriginHost: "http://app.test", Batching: core.Batching{Payloads: 20},
						})
						require.NoError(t, client.Start(t.Context()))
						payloads := kinds(20-poison, poison)
						if way == "bulk call" && poison == 0 {
							receipt, err := client.PublishBulk(t.Context(), "orders", payloads)
							require.NoError(t, err)
							assert.Equal(t, core.Delivered, receipt.State)
							assert.Len(t, receipt.Jobs, server.requests()-1, "the server answers each request with one")
							assert.Equal(t, 5+1, server.requests())
						} else {
							ways[way](t, client, store, payloads)
						}
						time.Sleep(time.Minute)
						arrivals, different := server.count("good")
						assert.Equal(t, 20-poison, different)
						assert.Equal(t, different, arrivals, "each once")
						assert.Equal(t, poison, stillStored(t, store))
					})
				})
			}
		}
	}
}

// What has failed before the topic was unknown is not tried again in the same
// call, nor does it fail otherwise.
func TestTopicForgottenAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := 0
		posts := 0
		server := &bubbleServer{judge: func(p post) verdict {
			posts++
			switch {
			case posts == 4:
				return verdict{status: http.StatusNotAcceptable}
			case p.has("poison"):
				refused++
				return verdict{status: http.StatusBadRequest}
			}
			return taken
		}}
		client, _ := bubbleClient(t, server, core.Config{BulkLimit: 2, Topics: []string{"orders"}, OriginHost: "http://app.test"})
		payloads := append(kinds(0, 1), kinds(5, 0)...)
		receipt, err := client.PublishBulk(t.Context(), "orders", payloads)
		var partial *core.PartialError
		require.ErrorAs(t, err, &partial)
		assert.Equal(t, []int{0}, partial.Indexes)
		assert.Equal(t, 2, refused, "with another, and alone")
		arrivals, different := server.count("good")
		assert.Equal(t, []int{5, 5}, []int{arrivals, different})
		assert.Len(t, receipt.Jobs, posts-refused-1)
	})
}
