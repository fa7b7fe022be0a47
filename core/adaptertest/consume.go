package adaptertest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// ConsumeApp describes an app to create for [RunConsume].
type ConsumeApp struct {
	// Client is for the adapter's Middleware, with the zero Options, which must
	// run before the consumer. If Client is nil, the app must not have the
	// middleware.
	Client *core.Client

	// Path and Handler are for the adapter's Consume, in a group with the
	// Prefix, such as "/group", or at the root if it is empty. If the framework
	// has no groups, prepend the prefix to the path.
	Prefix, Path string
	Handler      http.Handler

	// Own are the paths of the app's own routes, which are added before the
	// consumer and below the Prefix. They accept any method and respond with
	// 202.
	Own []string
}

// newConsumeApp is the argument of RunConsume.
type newConsumeApp = func(app ConsumeApp) (http.Handler, error)

// consumeApp creates an app whose consumer conflicts with no other route.
func consumeApp(t *testing.T, newApp newConsumeApp, app ConsumeApp) http.Handler {
	t.Helper()
	handler, err := newApp(app)
	require.NoError(t, err)
	return handler
}

// RunConsume runs the part of the suite that checks the adapter's Consume. Each
// check is a subtest. newApp creates an app. It returns the error of Consume,
// together with the handler of the app.
func RunConsume(t *testing.T, newApp func(app ConsumeApp) (http.Handler, error)) {
	t.Helper()
	for _, check := range []struct {
		name string
		run  func(t *testing.T, newApp newConsumeApp, prefix string)
	}{
		{"Request", consumeRequest},
		{"Paths", consumePaths},
		{"Methods", consumeMethods},
		{"Root", consumeRoot},
		{"AbortHandler", consumeAborts},
		{"Publishes", consumePublishes},
		{"Delivery", consumeDelivery},
		{"TooLarge", consumeTooLarge},
		{"Refused", consumeRefused},
		{"BesideTheApp", consumeBesideTheApp},
	} {
		t.Run(check.name, func(t *testing.T) {
			t.Run("AtTheRoot", func(t *testing.T) { check.run(t, newApp, "") })
			t.Run("InAGroup", func(t *testing.T) { check.run(t, newApp, "/group") })
		})
	}
}

// consumePath is the path that most checks use.
const consumePath = "/consume/orders"

// consumeRequest checks that the handler receives the request that was sent,
// and that its response comes back.
func consumeRequest(t *testing.T, newApp newConsumeApp, prefix string) {
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: consumePath, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http.MethodPost, r.Method)
		assert.Equal(t, "9114", r.Header.Get("message-id"))
		assert.Equal(t, prefix+consumePath+"?a=b", r.RequestURI)
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Empty(t, body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, "text")
	})}))
	got := app.do(t, http.MethodPost, prefix+consumePath+"?a=b", nil, "message-id", "9114")
	assert.Equal(t, http.StatusConflict, got.Status)
	assert.Equal(t, "yes", got.Header.Get("X-Answer"))
	assert.Equal(t, "text", got.Body)
}

// noContent acknowledges everything.
var noContent = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// consumePaths checks that no response is a redirect, which the server would
// not follow, and that paths below the consumer's path are not served.
func consumePaths(t *testing.T, newApp newConsumeApp, prefix string) {
	for _, path := range []string{consumePath, consumePath + "/"} {
		app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: path, Handler: noContent}))
		for _, asked := range []string{consumePath, consumePath + "/"} {
			assert.Equal(t, http.StatusNoContent, app.do(t, http.MethodPost, prefix+asked, nil).Status, "%s at %s", asked, path)
		}
		for _, asked := range []string{"/consume", consumePath + "/7", consumePath + "s"} {
			assert.Equal(t, http.StatusNotFound, app.do(t, http.MethodPost, prefix+asked, nil).Status, "%s at %s", asked, path)
		}
	}
}

// consumeMethods checks that the handler rejects methods: the framework would
// answer without checking the credentials.
func consumeMethods(t *testing.T, newApp newConsumeApp, prefix string) {
	handler := delivery.Handler(func(context.Context, delivery.Message[any]) error { return nil },
		delivery.WithCredentials("user", "secret"), delivery.WithLogger(slog.New(slog.DiscardHandler)))
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: consumePath, Handler: handler}))
	for _, path := range []string{consumePath, consumePath + "/"} {
		for _, method := range []string{
			http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace,
		} {
			assert.Equal(t, http.StatusUnauthorized, app.do(t, method, prefix+path, nil).Status, method)
			got := app.do(t, method, prefix+path, url.UserPassword("user", "secret"))
			assert.Equal(t, http.StatusMethodNotAllowed, got.Status, method)
			assert.Equal(t, http.MethodPost, got.Header.Get("Allow"), method)
		}
	}
}

func consumeRoot(t *testing.T, newApp newConsumeApp, prefix string) {
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: "/", Handler: noContent}))
	assert.Equal(t, http.StatusNoContent, app.do(t, http.MethodPost, prefix+"/", nil).Status)
	assert.Equal(t, http.StatusNotFound, app.do(t, http.MethodPost, prefix+"/7", nil).Status)
}

func consumeAborts(t *testing.T, newApp newConsumeApp, prefix string) {
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: consumePath, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})}))
	_, err := app.try(t.Context(), http.MethodPost, prefix+consumePath, nil)
	require.Error(t, err)
	assert.Empty(t, app.errors.String(), "the server's log")
}

// consumed starts a server that delivers to an app. It returns the server, the
// URL of the consumer and a client that publishes to it.
func consumed(t *testing.T, newApp newConsumeApp, prefix string, handle func(ctx context.Context, m delivery.Message[map[string]int]) error) (*postofficetest.Server, *core.Client) {
	t.Helper()
	server := newServer(t)
	client := newClient(t, server)
	user := url.UserPassword("us@er", "p:ss/w%rd")
	password, _ := user.Password()
	app := serve(t, consumeApp(t, newApp, ConsumeApp{
		Client: client, Prefix: prefix, Path: consumePath,
		Handler: delivery.Handler(handle, delivery.WithCredentials(user.Username(), password), delivery.WithLogger(slog.New(slog.DiscardHandler))),
	}))
	target, err := url.Parse(app.url + prefix + consumePath)
	require.NoError(t, err)
	target.User = user
	_, err = server.AddConsumer(postofficetest.Consumer{Topic: topic, Target: target.String()})
	require.NoError(t, err)
	return server, client
}

// consumePublishes publishes in the handler function with the request's
// publisher.
func consumePublishes(t *testing.T, newApp newConsumeApp, prefix string) {
	server, client := consumed(t, newApp, prefix, func(ctx context.Context, _ delivery.Message[map[string]int]) error {
		p, ok := core.FromContext(ctx)
		assert.True(t, ok)
		_, err := p.Publish(ctx, "replies", map[string]int{})
		return err
	})
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "replies"}))
	_, err := client.Publish(t.Context(), topic, map[string]int{})
	require.NoError(t, err)
	require.NoError(t, server.WaitForMessages(soon(t), "replies", 1))
	require.NoError(t, server.WaitForDeliveries(soon(t), 1))
	assert.Equal(t, http.StatusNoContent, server.Deliveries()[0].Status)
}

// consumeDelivery delivers to a handler that fails, and then succeeds.
func consumeDelivery(t *testing.T, newApp newConsumeApp, prefix string) {
	attempts := make(chan delivery.Message[map[string]int], 3)
	server, client := consumed(t, newApp, prefix, func(_ context.Context, m delivery.Message[map[string]int]) error {
		attempts <- m
		switch len(attempts) {
		case 1:
			return io.ErrUnexpectedEOF
		case 2:
			panic("on purpose")
		default:
			return nil
		}
	})
	_, err := client.Publish(t.Context(), topic, map[string]int{"n": 7}, core.WithAttribute("region", "north"))
	require.NoError(t, err)
	for attempt := 1; attempt <= 3; attempt++ {
		require.NoError(t, server.WaitForDeliveries(soon(t), attempt))
		server.Advance(20 * time.Second)
	}
	require.NoError(t, server.WaitIdle(soon(t)))
	var statuses []int
	for _, made := range server.Deliveries() {
		statuses = append(statuses, made.Status)
	}
	assert.Equal(t, []int{http.StatusInternalServerError, http.StatusInternalServerError, http.StatusNoContent}, statuses)
	first := <-attempts
	assert.Equal(t, map[string]int{"n": 7}, first.Payload)
	assert.Equal(t, map[string]string{"region": "north"}, first.Attributes)
	for range 2 {
		assert.Equal(t, first.ID, (<-attempts).ID)
	}
}

// consumeTooLarge checks that the size limit works with the framework's writer.
func consumeTooLarge(t *testing.T, newApp newConsumeApp, prefix string) {
	handler := delivery.Handler(func(context.Context, delivery.Message[any]) error { return nil },
		delivery.WithMaxBytes(10), delivery.WithLogger(slog.New(slog.DiscardHandler)))
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: consumePath, Handler: handler}))
	for body, want := range map[string]int{`{"a":"bc"}`: http.StatusNoContent, `{"a":"bcd"}`: http.StatusRequestEntityTooLarge} {
		for _, chunked := range []bool{false, true} {
			assert.Equal(t, want, app.deliver(t, prefix+consumePath, body, chunked), "chunked: %v", chunked)
		}
	}
}

// deliver posts a message and returns the status.
func (s *site) deliver(t *testing.T, path, body string, chunked bool) int {
	t.Helper()
	var content io.Reader = strings.NewReader(body)
	if chunked { // a body of unknown length
		content = struct{ io.Reader }{content}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, content)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("message-id", "9114")
	response, err := s.client.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

// consumeRefused checks that Consume returns errors for invalid arguments and
// does not change the app.
func consumeRefused(t *testing.T, newApp newConsumeApp, prefix string) {
	for name, app := range map[string]ConsumeApp{
		"NoHandler":      {Path: consumePath},
		"NilHandler":     {Path: consumePath, Handler: http.HandlerFunc(nil)},
		"Taken":          {Path: consumePath, Handler: noContent, Own: []string{consumePath}},
		"TakenElsewhere": {Path: consumePath + "/", Handler: noContent, Own: []string{consumePath}},
	} {
		t.Run(name, func(t *testing.T) {
			app.Prefix = prefix
			handler, err := newApp(app)
			require.ErrorIs(t, err, core.ErrInvalidConfig)
			assert.ErrorContains(t, err, consumePath)
			served := serve(t, handler)
			for _, path := range app.Own {
				assert.Equal(t, http.StatusAccepted, served.do(t, http.MethodPost, prefix+path, nil).Status)
			}
		})
	}
}

// consumeBesideTheApp adds routes of the app around the consumer's route.
func consumeBesideTheApp(t *testing.T, newApp newConsumeApp, prefix string) {
	own := []string{"/consume", consumePath + "/more"}
	app := serve(t, consumeApp(t, newApp, ConsumeApp{Prefix: prefix, Path: consumePath, Handler: noContent, Own: own}))
	assert.Equal(t, http.StatusNoContent, app.do(t, http.MethodPost, prefix+consumePath, nil).Status)
	for _, path := range own {
		assert.Equal(t, http.StatusAccepted, app.do(t, http.MethodPost, prefix+path, nil).Status)
	}
}
