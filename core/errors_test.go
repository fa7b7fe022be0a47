package core_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// publishOne publishes a message to the topic "orders".
func publishOne(t *testing.T, config core.Config, options ...core.PublishOption) error {
	t.Helper()
	_, err := newTestClient(t, config).Publish(t.Context(), "orders", struct{}{}, options...)
	return err
}

// The texts of the errors that users see. Each begins with its prefix, once.
func TestErrorTexts(t *testing.T) {
	server := postofficetest.Start(t)
	fails := func(status int) *http.Client {
		return &http.Client{Transport: answering(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })}
	}
	closed := func() outbox.Store {
		store := memory.New()
		require.NoError(t, store.Close())
		return store
	}
	settings := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(settings, []byte(`{"URL":1}`), 0o600))
	t.Setenv("POSTOFFICE_SETTINGS", settings)

	for name, test := range map[string]struct {
		call func(*testing.T) error
		want string
	}{
		"no server": {
			func(t *testing.T) error { return publishOne(t, core.Config{URL: "http://us:pw@127.0.0.1:1/prefix/"}) },
			`postoffice: message not accepted: no response from http://127.0.0.1:1/prefix for topic "orders": dial tcp 127.0.0.1:1: connect: connection refused`,
		},
		"no answer in time": {
			func(t *testing.T) error {
				return publishOne(t, core.Config{URL: testServer, Timeout: time.Nanosecond, HTTPClient: &http.Client{
					Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
						<-r.Context().Done()
						return nil, context.Cause(r.Context())
					}),
				}})
			},
			`postoffice: message not accepted: no response from http://postoffice.test:4000 for topic "orders": server timed out: context deadline exceeded`,
		},
		"unknown topic": {
			func(t *testing.T) error { return publishOne(t, core.Config{URL: server.URL()}) },
			`postoffice: message not accepted: server answered 400 for topic "orders": topic is invalid; neither the server nor Config.Topics has this topic`,
		},
		"server fails": {
			func(t *testing.T) error { return publishOne(t, core.Config{URL: testServer, HTTPClient: fails(500)}) },
			`postoffice: message not accepted: server answered 500 for topic "orders"`,
		},
		"one of many": {
			func(t *testing.T) error {
				_, err := newTestClient(t, core.Config{URL: server.URL()}).PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, 3)))
				return err
			},
			`postoffice: message not accepted: 3 payloads: server answered 406 for topic "orders": Topic does not exist; neither the server nor Config.Topics has this topic`,
		},
		"circuit breaker": {
			func(t *testing.T) error {
				client := newTestClient(t, core.Config{URL: testServer, HTTPClient: fails(500)})
				for client.Stats().Breaker != core.BreakerOpen {
					_, _ = client.Publish(t.Context(), "orders", struct{}{})
				}
				_, err := client.Publish(t.Context(), "orders", struct{}{})
				return err
			},
			`postoffice: message not accepted: circuit breaker is open: the server failed repeatedly`,
		},
		"nor stored": {
			func(t *testing.T) error {
				return publishOne(t, core.Config{URL: testServer, HTTPClient: fails(500), Outbox: brokenStore{memory.New()}})
			},
			"postoffice: message not accepted: server answered 500 for topic \"orders\"\noutbox: disk is full",
		},
		"closed outbox": {
			func(t *testing.T) error {
				return publishOne(t, core.Config{URL: testServer, Outbox: closed()}, core.WithDedupKey("k"))
			},
			`postoffice: message not accepted: outbox is closed`,
		},
		"durable, with neither": {
			func(t *testing.T) error {
				client := newTestClient(t, core.Config{URL: testServer, HTTPClient: fails(500), Outbox: closed()})
				_, err := publisherIn(t, client, core.Durable).Publish(t.Context(), "orders", struct{}{})
				return err
			},
			"postoffice: message not accepted: server answered 500 for topic \"orders\"\noutbox is closed; outbox is closed",
		},
		"stopped while the outbox is full": {
			func(t *testing.T) error {
				asked := make(chan struct{})
				store := fullStore{memory.New(), sync.OnceFunc(func() { close(asked) })}
				client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
				failed := make(chan error)
				go func() {
					_, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("k"))
					failed <- err
				}()
				<-asked
				require.NoError(t, client.Stop(t.Context()))
				return <-failed
			},
			"postoffice: message not accepted: outbox is full\nclient is stopped",
		},
		"looking after the outbox": {
			func(t *testing.T) error {
				_, err := newTestClient(t, core.Config{URL: testServer, Outbox: closed()}).Outbox().Stats(t.Context())
				return err
			},
			`postoffice: outbox is closed`,
		},
		"starting with an outbox that cannot be used": {
			func(t *testing.T) error {
				return newTestClient(t, core.Config{URL: testServer, Outbox: closed()}).Start(t.Context())
			},
			`postoffice: outbox is closed`,
		},
		"query": {
			func(t *testing.T) error {
				_, err := newTestClient(t, core.Config{URL: testServer, Outbox: memory.New()}).Outbox().List(t.Context(), outbox.Query{Limit: -1})
				return err
			},
			`postoffice: outbox: invalid argument: Query.Limit is -1, below zero`,
		},
		"lost at stop": {
			func(t *testing.T) error {
				client, err := core.NewClient(core.Config{URL: "http://127.0.0.1:1", Logger: quiet})
				require.NoError(t, err)
				queueN(t, publisherIn(t, client, core.Memory), 3, core.Queued)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				err = client.Stop(ctx)
				for ; errors.Is(err, context.DeadlineExceeded); err = client.Stop(t.Context()) { // on a busy machine
				}
				return err
			},
			`postoffice: stop: 3 messages: neither delivered nor stored`,
		},
		"health": {
			func(t *testing.T) error {
				return newTestClient(t, core.Config{URL: testServer, HTTPClient: fails(503)}).Health(t.Context())
			},
			`postoffice: server answered 503`,
		},
		"required setup": {
			func(t *testing.T) error {
				return newTestClient(t, core.Config{URL: testServer, HTTPClient: fails(503), SetupRequired: true, Topics: []string{"orders"}, OriginHost: origin}).Start(t.Context())
			},
			`postoffice: setup: topic "orders": server answered 503 for topic "orders"`,
		},
		"configuration": {
			func(*testing.T) error { _, err := core.NewClient(core.Config{URL: "postoffice"}); return err },
			`postoffice: invalid configuration: URL must begin with http:// or https://`,
		},
		"settings": {
			func(*testing.T) error { _, err := core.SettingsFromEnv(); return err },
			`postoffice: invalid configuration: POSTOFFICE_SETTINGS=` + settings + `: URL must be a string, not a number`,
		},
		"message": {
			func(t *testing.T) error {
				return publishOne(t, core.Config{URL: testServer}, core.WithAttribute("", 1))
			},
			`postoffice: invalid message: attributes[""] has an empty name`,
		},
		"state": {
			func(*testing.T) error { return new(core.State).UnmarshalText([]byte("lost")) },
			`postoffice: "lost" is not a state of a message`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.call(t)
			require.EqualError(t, err, test.want)
			assert.True(t, strings.HasPrefix(err.Error(), prefix))
			assert.Equal(t, 1, strings.Count(err.Error(), prefix))
		})
	}
}

// fullStore is an outbox without room.
type fullStore struct {
	outbox.Store
	asked func() // for room
}

func (s fullStore) Insert(context.Context, time.Duration, ...outbox.Record) error {
	s.asked()
	return outbox.ErrFull
}

// What answers at a wrong address is named by the method and URL of the
// request, without userinfo, wherever the answer is told.
func TestErrorsOfAWrongAddress(t *testing.T) {
	for name, test := range map[string]struct {
		status   int
		location string
		body     string
		want     string // after the method and URL
	}{
		"not found": {404, "", "<html>",
			` answered 404%s: this is not the address of a Postoffice server`},
		"not found, in JSON": {404, "", `{"errors":{"detail":"Not Found"}}`,
			` answered 404%s: Not Found; this is not the address of a Postoffice server`},
		"a site": {200, "", "<html>SECRET</html>",
			` answered 200%s: this is not the address of a Postoffice server`},
		"a redirect": {301, "https://us:SECRET@login.test:8443/SECRET?token=SECRET", "",
			` answered 301%s, a redirect to https://login.test:8443: this is not the address of a Postoffice server`},
		"a redirect within": {308, "/SECRET", "",
			` answered 308%s, a redirect to http://gateway.test:4000: this is not the address of a Postoffice server`},
		"a redirect to nowhere": {302, ":SECRET", "",
			` answered 302%s: this is not the address of a Postoffice server`},
		"a method that is not allowed": {405, "", "", ` answered 405%s: this is not the address of a Postoffice server`},
		"HTTP where TLS is expected":   {400, "", "<html>", ` answered 400%s: this is not the address of a Postoffice server`},
		"no credentials": {401, "", "",
			` answered 401%s: a proxy in front of the server refuses the credentials in its URL, or requires some`},
	} {
		t.Run(name, func(t *testing.T) {
			answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.location != "" {
					w.Header().Set("Location", test.location)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			store := memory.New()
			config := core.Config{
				URL: "http://us:SECRET@gateway.test:4000/postoffice", HTTPClient: &http.Client{Transport: answering(answer)},
				Topics: []string{"orders"}, OriginHost: origin,
			}
			client := newTestClient(t, config)
			config.Outbox = store
			storing := newTestClient(t, config)
			_, one := client.Publish(t.Context(), "orders", struct{}{})
			_, many := client.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, 2)))
			_, setup := client.Setup(t.Context())
			_, err := storing.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
			told := func(prefix, request, topic string) string {
				return prefix + request + strings.Replace(test.want, "%s", topic, 1)
			}
			const address, topic = "http://gateway.test:4000/postoffice/api/", ` for topic "orders"`
			assert.EqualError(t, one, told("postoffice: message not accepted: ", "POST "+address+"messages", topic))
			if test.status != http.StatusBadRequest { // which is taken to be about one of the messages
				assert.EqualError(t, many, told("postoffice: message not accepted: 2 payloads: ", "POST "+address+"bulk_messages", topic))
			}
			assert.EqualError(t, setup, told(`postoffice: setup: topic "orders": `, "POST "+address+"topics", topic))
			assert.Equal(t, told("", "POST "+address+"messages", topic), records(t, store)[0].LastError)
			health := client.Health(t.Context())
			if test.status == http.StatusOK {
				assert.EqualError(t, health, "postoffice: server is unhealthy: the answer to GET "+address+"health is not from a Postoffice server")
			} else {
				assert.EqualError(t, health, told("postoffice: ", "GET "+address+"health", ""))
			}
			for _, err := range []error{one, many, setup, health} {
				assert.NotContains(t, err.Error(), "SECRET")
			}
		})
	}
}

func TestResponseErrorHoldsTheRequest(t *testing.T) {
	site := httptest.NewServer(http.RedirectHandler("https://elsewhere.test/login?token=1", http.StatusFound))
	t.Cleanup(site.Close)
	err := publishOne(t, core.Config{URL: site.URL})
	response, ok := errors.AsType[*core.ResponseError](err)
	require.True(t, ok)
	assert.Equal(t, &core.ResponseError{
		StatusCode: 302, Topic: "orders", Method: "POST", URL: site.URL + "/api/messages", Location: "https://elsewhere.test",
	}, response)
}
