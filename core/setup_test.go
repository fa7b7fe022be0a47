package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/h2non/gock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

const origin = "http://us%40er:p%3Ass@app.test"

func TestSetupSendsWhatIsConfigured(t *testing.T) {
	gock.New(testServer).Post("/api/topics").
		JSON(map[string]any{"name": "orders", "origin_host": origin + "/postoffice/messages/", "recovery_enabled": true}).
		Reply(201).BodyString(`{"data":{"id":1,"name":"orders"}}`)
	gock.New(testServer).Post("/api/publishers").
		JSON(map[string]any{"topic": "orders", "target": "http://a:b@app.test/orders", "type": "http", "active": true, "from_now": false}).
		Reply(201).BodyString(`{"data":{}}`)
	gock.New(testServer).Post("/api/publishers").
		JSON(map[string]any{"topic": "orders", "target": "gcp", "type": "pubsub", "active": false, "from_now": true, "seconds_timeout": 20, "seconds_retry": 7, "chunk_size": 50}).
		Reply(201).BodyString(`{"data":{}}`)
	client := mocked(t, core.Config{
		Topics: []string{"orders"}, OriginHost: origin, RecoveryEnabled: true,
		Consumers: []core.Consumer{
			{Topic: "orders", Target: "http://a:b@app.test/orders"},
			{Topic: "orders", Target: "gcp", Type: core.PubSub, Paused: true, FromNow: true, Timeout: 20 * time.Second, Retry: 7 * time.Second, ChunkSize: 50},
		},
	})
	report, err := client.Setup(t.Context())
	require.NoError(t, err)
	assert.Equal(t, core.SetupReport{
		Topics: []core.SetupResult{{Topic: "orders", Status: core.SetupCreated}},
		Consumers: []core.SetupResult{
			{Topic: "orders", Target: "http://app.test/orders", Type: core.HTTP, Status: core.SetupCreated},
			{Topic: "orders", Target: "gcp", Type: core.PubSub, Status: core.SetupCreated},
		},
	}, report)
}

func TestOriginHostEndsInSlash(t *testing.T) {
	for path, want := range map[string]string{"": "/postoffice/messages/", "/outbox": "/outbox/", "/outbox/": "/outbox/"} {
		gock.New(testServer).Post("/api/topics").
			JSON(map[string]any{"name": "orders", "origin_host": "http://app.test" + want, "recovery_enabled": false}).
			Reply(201).BodyString(`{"data":{"id":1,"name":"orders"}}`)
		client := mocked(t, core.Config{Topics: []string{"orders"}, OriginHost: "http://app.test/", RecoveryPath: path})
		_, err := client.SetupTopics(t.Context())
		require.NoError(t, err, path)
	}
}

func TestSetupTriesEachThoughOthersFail(t *testing.T) {
	var log strings.Builder
	gock.New(testServer).Post("/api/topics").JSON(topicBody("taken")).Reply(409).BodyString(`{"data":{"errors":{"name":["has already been taken"]}}}`)
	gock.New(testServer).Post("/api/topics").JSON(topicBody("broken")).Reply(500).BodyString(`{"errors":{"detail":"Internal Server Error"}}`)
	gock.New(testServer).Post("/api/topics").JSON(topicBody("new")).Reply(201).BodyString(`{"data":{"id":1,"name":"new"}}`)
	gock.New(testServer).Post("/api/publishers").Reply(400).BodyString(`{"data":{"errors":{"topic":["is invalid"]}}}`)
	client := mocked(t, core.Config{
		Topics: []string{"taken", "broken", "new"}, OriginHost: "http://app.test",
		Consumers: []core.Consumer{{Topic: "foreign", Target: "http://hermes:caduceus@app.test/in"}},
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
	})
	report, err := client.Setup(t.Context())

	statuses := map[string]core.SetupStatus{}
	for _, result := range report.Topics {
		statuses[result.Topic] = result.Status
	}
	assert.Equal(t, map[string]core.SetupStatus{"taken": core.SetupExists, "broken": core.SetupFailed, "new": core.SetupCreated}, statuses)
	require.Len(t, report.Failed(), 2)
	assert.Equal(t, `topic "broken"`, report.Failed()[0].String())
	assert.Equal(t, `http consumer "http://app.test/in" of topic "foreign"`, report.Failed()[1].String())
	assert.EqualError(t, err, strings.Join([]string{
		`postoffice: setup: topic "broken": server answered 500 for topic "broken": Internal Server Error`,
		`http consumer "http://app.test/in" of topic "foreign": the topic does not exist yet (its publisher creates it, or list it in Topics): server answered 400 for topic "foreign": topic is invalid`,
	}, "\n"))
	response, ok := errors.AsType[*core.ResponseError](report.Consumers[0].Err)
	require.True(t, ok)
	assert.Equal(t, map[string][]string{"topic": {"is invalid"}}, response.Errors)

	assert.Contains(t, log.String(), `level=INFO msg="postoffice: topic \"taken\" already exists; the server did not update it`)
	assert.Contains(t, log.String(), `level=ERROR msg="postoffice: cannot create topic \"broken\""`)
	assert.Contains(t, log.String(), `Internal Server Error`)
	assert.Contains(t, log.String(), "the topic does not exist yet")
	assert.NotContains(t, log.String(), "caduceus")
	assert.NotContains(t, err.Error(), "caduceus")
}

func topicBody(name string) map[string]any {
	return map[string]any{"name": name, "origin_host": "http://app.test/postoffice/messages/", "recovery_enabled": false}
}

func TestSetupOfHalves(t *testing.T) {
	config := core.Config{Topics: []string{"orders"}, OriginHost: "http://app.test", Consumers: []core.Consumer{{Topic: "orders", Target: "http://app.test/in"}}}
	t.Run("topics", func(t *testing.T) {
		gock.New(testServer).Post("/api/topics").Reply(201)
		report, err := mocked(t, config).SetupTopics(t.Context())
		require.NoError(t, err)
		assert.Len(t, report.Topics, 1)
		assert.Empty(t, report.Consumers)
	})
	t.Run("consumers", func(t *testing.T) {
		gock.New(testServer).Post("/api/publishers").Reply(201)
		report, err := mocked(t, config).SetupConsumers(t.Context())
		require.NoError(t, err)
		assert.Len(t, report.Consumers, 1)
		assert.Empty(t, report.Topics)
	})
}

// scripted is a server whose answers to setup a test decides.
type scripted struct {
	mu     sync.Mutex
	status func(path, name string) int
	seen   []string
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	var body struct{ Name, Topic string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, body.Name+body.Topic)
	status := s.status(r.URL.Path, body.Name+body.Topic)
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func (s *scripted) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func TestFailedSetupIsTriedAgainUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var back atomic.Bool
		server := &scripted{status: func(_, name string) int {
			switch {
			case name == "fine" || back.Load():
				return 201
			case name == "foreign":
				return 400
			default:
				return 0
			}
		}}
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server},
			Topics: []string{"fine", "broken"}, OriginHost: "http://app.test",
			Consumers: []core.Consumer{{Topic: "fine", Target: "http://app.test/1"}, {Topic: "foreign", Target: "http://app.test/2"}},
		})
		require.NoError(t, client.Start(t.Context()), "a server that fails is no reason not to start")
		assert.ElementsMatch(t, []string{"fine", "broken", "fine", "foreign"}, server.requests())

		time.Sleep(10 * time.Minute)
		tries := len(server.requests())
		assert.Greater(t, tries, 4+2*9, "at least once a minute")
		assert.Less(t, tries, 4+2*60, "with growing pauses")

		back.Store(true)
		time.Sleep(setupRetryMax + time.Second)
		done := len(server.requests())
		assert.Equal(t, []string{"broken", "foreign"}, server.requests()[done-2:], "only what failed, topics first")
		time.Sleep(time.Hour)
		assert.Len(t, server.requests(), done, "and never again")
	})
}

func TestStopEndsSetup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{status: func(string, string) int { return 0 }}
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: server}, Topics: []string{"orders"}, OriginHost: "http://app.test"})
		require.NoError(t, client.Start(t.Context()))
		require.NoError(t, client.Stop(t.Context()))
		seen := len(server.requests())
		time.Sleep(time.Hour)
		assert.Len(t, server.requests(), seen)
	})
}

func TestSetupRequired(t *testing.T) {
	server := &scripted{status: func(string, string) int { return 500 }}
	client := newTestClient(t, core.Config{
		URL: testServer, HTTPClient: &http.Client{Transport: server}, SetupRequired: true,
		Topics: []string{"orders"}, OriginHost: "http://app.test",
	})
	err := client.Start(t.Context())
	require.ErrorContains(t, err, `topic "orders"`)

	server.status = func(string, string) int { return 409 }
	require.NoError(t, client.Start(t.Context()), "one that exists is fine, and Start can be tried again")
	seen := len(server.requests())
	require.NoError(t, client.Start(t.Context()))
	assert.Len(t, server.requests(), seen, "starting again does nothing")
}

func TestStartHonoursItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: testServer, Topics: []string{"orders"}, OriginHost: "http://app.test",
			HTTPClient: &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, client.Start(ctx), context.DeadlineExceeded)
	})
}

// A topic of Config.Topics that the server turns out not to have is created, at
// most once in a while.
func TestCreationOfALostTopicIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var created []string
		client := newTestClient(t, core.Config{URL: testServer, Topics: []string{"orders"}, OriginHost: "http://app.test", HTTPClient: &http.Client{
			Transport: answering(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/topics" {
					var body struct{ Name string }
					assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
					created = append(created, body.Name)
					w.WriteHeader(http.StatusCreated)
					return
				}
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"data":{"errors":{"topic":["is invalid"]}}}`)
			}),
		}})
		publish := func(topic string) {
			t.Helper()
			_, err := client.Publish(t.Context(), topic, struct{}{})
			require.ErrorIs(t, err, core.ErrNotAccepted)
		}
		publish("orders")
		assert.Equal(t, []string{"orders"}, created)
		time.Sleep(restoreInterval - time.Millisecond)
		publish("orders")
		publish("foreign")
		assert.Equal(t, []string{"orders"}, created, "a moment ago, and not a topic of ours")
		time.Sleep(time.Millisecond)
		publish("orders")
		assert.Equal(t, []string{"orders", "orders"}, created)
	})
}
