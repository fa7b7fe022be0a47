package adaptertest

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// registerTests check the whole of Register.
var registerTests = []test{
	{"SetsUpTheServer", registerSetsUp},
	{"InstallsTheMiddleware", inEachWay(registerInstalls)},
	{"MountsTheRoutes", registerMounts},
	{"StartsTheRelay", registerStartsRelay},
	{"ChecksTheConsumers", registerChecksConsumers},
	{"ReturnsTheErrorOfSetup", registerReturnsError},
	{"GoesOnWithoutTheServer", registerGoesOn},
	{"StoppedClient", registerStopped},
}

func nothing(Call) error { return nil }

func registerSetsUp(t *testing.T, adapter Adapter) {
	server := postofficetest.Start(t)
	client := newClient(t, server, guarded(memory.New(), "origin.test"), func(config *core.Config) {
		config.Topics = []string{"orders", "invoices"}
		config.Consumers = []core.Consumer{{Topic: "orders", Target: "http://consumer.test/orders", Timeout: 7 * time.Second}}
	})
	_, err := adapter.Register(client, core.Options{}, nothing)
	require.NoError(t, err)
	var names []string
	for _, created := range server.Topics() {
		names = append(names, created.Name)
		assert.Equal(t, "http://us%40er:p%3Ass%2Fw%25rd@origin.test/postoffice/messages/", created.OriginHost)
	}
	assert.ElementsMatch(t, []string{"orders", "invoices"}, names)
	consumers := server.Consumers()
	require.Len(t, consumers, 1)
	assert.Equal(t, "orders", consumers[0].Topic)
	assert.Equal(t, "http://consumer.test/orders", consumers[0].Target)
	assert.Equal(t, 7*time.Second, consumers[0].Timeout)
	assert.False(t, consumers[0].Paused)
}

func registerInstalls(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	options := w.withAttribute("id", func(r *http.Request) any { return r.Header.Get("X-Request-Id") })
	client := w.newClient(t, server)
	app, err := adapter.Register(client, options, func(call Call) error {
		receipt, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{})
		assert.NoError(t, err)
		assert.Equal(t, w.state, receipt.State)
		return nil
	})
	require.NoError(t, err)
	serve(t, app).get(t, "X-Request-Id", "r-1")
	messages := w.delivered(t, client, server, 1)
	assert.Equal(t, "r-1", attributesOf(t, messages[0])["id"])
}

func registerMounts(t *testing.T, adapter Adapter) {
	called := false
	client := newClient(t, newServer(t), guarded(memory.New(), "origin.test"))
	handler, err := adapter.Register(client, core.Options{}, func(Call) error {
		called = true
		return nil
	})
	require.NoError(t, err)
	app := serve(t, handler)
	for _, path := range []string{"/postoffice/messages", "/postoffice/messages/"} {
		got := app.do(t, http.MethodGet, path, recoveryUser())
		assert.Equal(t, http.StatusOK, got.Status)
		assert.Equal(t, "[]", got.Body)
		assert.Equal(t, http.StatusUnauthorized, app.do(t, http.MethodGet, path, nil).Status)
	}
	assert.False(t, called, "the app's own handler")
	app.get(t)
	assert.True(t, called, "the app's own handler")
}

func registerStartsRelay(t *testing.T, adapter Adapter) {
	server := newServer(t)
	store := memory.New()
	stored(t, store, 1)
	_, err := adapter.Register(newClient(t, server, guarded(store, "origin.test")), core.Options{}, nothing)
	require.NoError(t, err)
	assert.NoError(t, server.WaitForMessages(soon(t), topic, 1))
}

// registerChecksConsumers configures consumers in the app, one of them without
// a route. The log reports it at the first request, when the app has all of its
// routes.
func registerChecksConsumers(t *testing.T, adapter Adapter) {
	text := &logBuffer{}
	client := newClient(t, newServer(t), func(config *core.Config) {
		config.OriginHost = "http://user:secret@app.test"
		config.Consumers = []core.Consumer{{Topic: topic, Target: "http://app.test" + Path}, {Topic: topic, Target: "http://app.test/forgotten"}}
		config.Logger = slog.New(slog.NewTextHandler(text, nil))
	})
	handler, err := adapter.Register(client, core.Options{}, nothing)
	require.NoError(t, err)
	assert.NotContains(t, text.String(), "no route", "before the first request")
	app := serve(t, handler)
	app.get(t)
	app.get(t)
	assert.Equal(t, 1, strings.Count(text.String(), "no route"), text.String())
	assert.Contains(t, text.String(), "target=http://app.test/forgotten")
}

// ordersTopic configures a topic.
func ordersTopic(config *core.Config) {
	config.Topics = []string{"orders"}
	config.OriginHost = "http://origin.test"
}

func registerReturnsError(t *testing.T, adapter Adapter) {
	server := postofficetest.Start(t)
	server.Stop()
	client := newClient(t, server, ordersTopic, func(config *core.Config) { config.SetupRequired = true })
	_, err := adapter.Register(client, core.Options{}, nothing)
	require.ErrorContains(t, err, `"orders"`)
}

func registerGoesOn(t *testing.T, adapter Adapter) {
	server := postofficetest.Start(t)
	server.Stop()
	store := memory.New()
	client := newClient(t, server, ordersTopic, func(config *core.Config) { config.Outbox = store })
	app, err := adapter.Register(client, core.Options{}, func(call Call) error {
		receipt, err := call.Publisher().Publish(call.Request.Context(), "orders", map[string]int{})
		assert.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State)
		return nil
	})
	require.NoError(t, err)
	serve(t, app).get(t)
	assert.Len(t, left(t, store), 1)
}

func registerStopped(t *testing.T, adapter Adapter) {
	client := newClient(t, newServer(t))
	require.NoError(t, client.Stop(t.Context()))
	_, err := adapter.Register(client, core.Options{}, nothing)
	require.ErrorIs(t, err, core.ErrClosed)
}
