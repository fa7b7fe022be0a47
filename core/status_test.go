package core_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestStatus(t *testing.T) {
	server := postofficetest.Start(t)
	client, err := core.NewClient(core.Config{
		URL: server.URL(), Logger: quiet, OriginHost: "http://user:secret@127.0.0.1:9",
		Topics:    []string{"orders"},
		Consumers: []core.Consumer{{Topic: "bills", Target: "http://user:secret@127.0.0.1:9/bills"}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })

	status := client.Status()
	assert.Equal(t, core.BreakerClosed, status.Breaker)
	assert.Empty(t, status.Setup.Topics)
	assert.Equal(t, 2, status.Untried)

	_, err = client.Setup(t.Context())
	require.Error(t, err, "the topic of the consumer is not there")
	status = client.Status()
	require.Len(t, status.Setup.Topics, 1)
	require.Len(t, status.Setup.Consumers, 1)
	assert.Equal(t, core.SetupCreated, status.Setup.Topics[0].Status)
	assert.Equal(t, core.SetupFailed, status.Setup.Consumers[0].Status)
	assert.Zero(t, status.Untried)
	assert.NotContains(t, status.Setup.Consumers[0].String(), "secret")

	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "bills", OriginHost: "http://127.0.0.1:9/"}))
	_, err = client.SetupConsumers(t.Context())
	require.NoError(t, err)
	status = client.Status()
	assert.Equal(t, core.SetupCreated, status.Setup.Consumers[0].Status, "the latest outcome counts")
	assert.Len(t, status.Setup.Topics, 1, "what was not tried again is kept")

	server.FailNext(5, http.StatusServiceUnavailable)
	for range 5 {
		_, err = client.Publish(t.Context(), "orders", map[string]any{})
		require.Error(t, err)
	}
	assert.Equal(t, core.BreakerOpen, client.Status().Breaker)
}
