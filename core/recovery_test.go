package core_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

const (
	someID  = "01890000-0000-7000-8000-000000000001"
	otherID = "01890000-0000-7000-8000-000000000002"
)

func stored(id string) outbox.Record {
	return outbox.Record{ID: id, Topic: "orders", Payload: json.RawMessage(`{"id":7}`), Attributes: json.RawMessage(`{"region":"north"}`)}
}

// recoveryOf makes a client with records in its outbox, and its handler.
func recoveryOf(t *testing.T, config core.Config, list ...outbox.Record) (http.Handler, outbox.Store) {
	t.Helper()
	store := memory.New()
	require.NoError(t, store.Insert(t.Context(), 0, list...))
	config.URL, config.Outbox = testServer, store
	return newTestClient(t, config).RecoveryHandler(), store
}

func ask(handler http.Handler, method, path string, auth ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(context.Background(), method, path, nil)
	if len(auth) == 2 {
		request.SetBasicAuth(auth[0], auth[1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

func TestRecoveryListsAndDeletes(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: origin}, stored(someID))
	answer := ask(handler, "GET", "/postoffice/messages/", "us@er", "p:ss")
	assert.Equal(t, 200, answer.Code)
	assert.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	assert.Equal(t, "no-store, no-transform", answer.Header().Get("Cache-Control"))
	assert.Equal(t, `[{"id":"`+someID+`","topic":"orders","payload":{"id":7},"attributes":{"region":"north"},"bulk":false}]`, answer.Body.String())

	answer = ask(handler, "GET", "/postoffice/messages/", "us@er", "p:ss")
	assert.Equal(t, "[]", answer.Body.String(), "what is listed is not listed again")

	answer = ask(handler, "DELETE", "/postoffice/messages/"+someID+"/", "us@er", "p:ss")
	assert.Equal(t, 204, answer.Code)
	assert.Empty(t, records(t, store))
	answer = ask(handler, "DELETE", "/postoffice/messages/"+someID+"/", "us@er", "p:ss")
	assert.Equal(t, 404, answer.Code)
}

func TestRecoveryDeletesNothingElse(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: origin}, stored(someID))
	for _, id := range []string{
		otherID, "7", "abc", "%00", "..", someID + "x", "{" + someID + "}", strings.ToUpper(someID) + "0",
		"%27%20OR%201=1", someID + "/" + someID, "*", "%",
	} {
		path := "/postoffice/messages/" + id + "/"
		request := httptest.NewRequestWithContext(context.Background(), "DELETE", "/", nil)
		request.URL.Path = path
		request.SetBasicAuth("us@er", "p:ss")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		assert.Equal(t, 404, recorder.Code, id)
		assert.JSONEq(t, `{"errors":{"detail":["no such message"]}}`, recorder.Body.String())
	}
	assert.Len(t, records(t, store), 1)
}

func TestRecoveryNeedsItsCredentials(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: origin}, stored(someID))
	for name, auth := range map[string][]string{
		"none": nil, "wrong password": {"us@er", "p:s"}, "wrong user": {"user", "p:ss"}, "empty": {"", ""},
		"still encoded": {"us%40er", "p%3Ass"}, "longer": {"us@er", "p:ss1"},
	} {
		for _, call := range [][2]string{{"GET", "/postoffice/messages/"}, {"DELETE", "/postoffice/messages/" + someID + "/"}} {
			answer := ask(handler, call[0], call[1], auth...)
			assert.Equal(t, 401, answer.Code, "%s: %s", name, call[0])
			assert.Contains(t, answer.Header().Get("WWW-Authenticate"), "Basic")
			assert.NotContains(t, answer.Body.String(), someID)
		}
	}
	list := records(t, store)
	require.Len(t, list, 1)
	assert.Zero(t, list[0].Attempts, "nothing was claimed")
}

func TestRecoveryWithoutCredentialsIsClosed(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: "http://app.test"}, stored(someID))
	assert.Equal(t, 403, ask(handler, "GET", "/postoffice/messages/").Code)
	assert.Equal(t, 403, ask(handler, "GET", "/postoffice/messages/", "us@er", "p:ss").Code)
	assert.Equal(t, 403, ask(handler, "DELETE", "/postoffice/messages/"+someID+"/").Code)
	assert.Len(t, records(t, store), 1)

	handler, _ = recoveryOf(t, core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true}, stored(someID))
	assert.Equal(t, 200, ask(handler, "GET", "/postoffice/messages/").Code)
	assert.Equal(t, 204, ask(handler, "DELETE", "/postoffice/messages/"+someID+"/").Code)
}

func TestOpenRecoveryBesideCredentials(t *testing.T) {
	handler, _ := recoveryOf(t, core.Config{OriginHost: origin, AllowOpenRecovery: true}, stored(someID))
	assert.Equal(t, 401, ask(handler, "GET", "/postoffice/messages/", "us@er", "wrong").Code)
	assert.Equal(t, 200, ask(handler, "GET", "/postoffice/messages/").Code, "a topic registered without credentials")
	assert.Equal(t, 204, ask(handler, "DELETE", "/postoffice/messages/"+someID+"/", "us@er", "p:ss").Code)
}

func TestRecoveryMethods(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: origin}, stored(someID))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		answer := ask(handler, method, "/postoffice/messages/", "us@er", "p:ss")
		assert.Equal(t, 405, answer.Code, method)
		assert.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "GET"} {
		answer := ask(handler, method, "/postoffice/messages/"+someID+"/", "us@er", "p:ss")
		assert.Equal(t, 405, answer.Code, method)
		assert.Equal(t, "DELETE", answer.Header().Get("Allow"))
	}
	assert.Zero(t, records(t, store)[0].Attempts)
}

// HEAD answers as GET does and claims nothing, so that the GET after it has the
// whole list.
func TestRecoveryHead(t *testing.T) {
	handler, store := recoveryOf(t, core.Config{OriginHost: origin}, stored(someID))
	for range 2 {
		head := ask(handler, "HEAD", "/postoffice/messages/", "us@er", "p:ss")
		assert.Equal(t, 200, head.Code)
		assert.Empty(t, head.Body.String())
		assert.Equal(t, http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store, no-transform"}}, head.Header())
		record := records(t, store)[0]
		assert.Zero(t, record.Attempts)
		assert.Empty(t, record.LeaseToken)
	}
	assert.Contains(t, ask(handler, "GET", "/postoffice/messages/", "us@er", "p:ss").Body.String(), someID)
	assert.Equal(t, 401, ask(handler, "HEAD", "/postoffice/messages/").Code)
	assert.Equal(t, 400, ask(handler, "HEAD", "/postoffice/messages/?limit=0", "us@er", "p:ss").Code)
	bare := newTestClient(t, core.Config{URL: testServer, AllowOpenRecovery: true}).RecoveryHandler()
	assert.Equal(t, 200, ask(bare, "HEAD", "/postoffice/messages/").Code, "without an outbox")
}

func TestRecoveryPaths(t *testing.T) {
	config := core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true}
	for _, path := range []string{"/postoffice/messages/", "/postoffice/messages", "/group/postoffice/messages/", "/"} {
		handler, _ := recoveryOf(t, config, stored(someID))
		answer := ask(handler, "GET", path)
		assert.Equal(t, 200, answer.Code, path)
		assert.Contains(t, answer.Body.String(), someID, path)
	}
	for _, path := range []string{"/postoffice/messages/", "/group/postoffice/messages/", "/"} {
		for _, end := range []string{"/", ""} {
			handler, _ := recoveryOf(t, config, stored(someID))
			assert.Equal(t, 204, ask(handler, "DELETE", path+someID+end).Code, path)
		}
	}
	handler, _ := recoveryOf(t, config, stored(someID))
	stripped := http.StripPrefix("/postoffice/messages", handler)
	assert.Equal(t, 204, ask(stripped, "DELETE", "/postoffice/messages/"+someID+"/").Code)
}

func TestRecoveryLimit(t *testing.T) {
	var many []outbox.Record
	for i := range 150 {
		record := stored(someID)
		record.ID = someID[:33] + string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)})
		many = append(many, record)
	}
	config := core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true}
	for query, want := range map[string]int{"": 100, "?limit=7": 7, "?limit=100": 100, "?limit=1": 1, "?other=1": 100} {
		handler, _ := recoveryOf(t, config, many...)
		var items []any
		require.NoError(t, json.Unmarshal(ask(handler, "GET", "/postoffice/messages/"+query).Body.Bytes(), &items))
		assert.Len(t, items, want, query)
	}
	handler, store := recoveryOf(t, config, many...)
	for _, garbage := range []string{"x", "0", "-1", "101", "1e2", "99999999999999999999", "", "%00", "1%202", "7;8"} {
		answer := ask(handler, "GET", "/postoffice/messages/?limit="+garbage)
		if garbage == "7;8" {
			// Not a query at all (the URL standard has dropped ";"): no limit.
			assert.Equal(t, 200, answer.Code)
			continue
		}
		assert.Equal(t, 400, answer.Code, garbage)
		assert.JSONEq(t, `{"errors":{"limit":["is not a number from 1 to 100"]}}`, answer.Body.String())
	}
	tried := 0
	for _, record := range records(t, store) {
		tried += record.Attempts
	}
	assert.Equal(t, 100, tried, "a bad request claims nothing")
}

func TestRecoveryListOfNothing(t *testing.T) {
	handler, _ := recoveryOf(t, core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true})
	assert.Equal(t, "[]", ask(handler, "GET", "/postoffice/messages/").Body.String())

	bare := newTestClient(t, core.Config{URL: testServer, AllowOpenRecovery: true}).RecoveryHandler()
	assert.Equal(t, "[]", ask(bare, "GET", "/postoffice/messages/").Body.String())
	assert.Equal(t, 404, ask(bare, "DELETE", "/postoffice/messages/"+someID+"/").Code)
}

func TestRecoveryLeavesOutWhatIsNotToBeListed(t *testing.T) {
	dead, scheduled, held := stored(someID), stored(otherID), stored(someID[:35]+"3")
	dead.State = outbox.Dead
	scheduled.DeliverAt = time.Now().Add(time.Hour)
	held.LeaseToken = "token"
	handler, store := recoveryOf(t, core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true}, dead, scheduled)
	require.NoError(t, store.Insert(t.Context(), time.Minute, held))
	assert.Equal(t, "[]", ask(handler, "GET", "/postoffice/messages/").Body.String())
}

func TestRecoveryAnswersUnavailableWithoutItsOutbox(t *testing.T) {
	store := memory.New()
	client := newTestClient(t, core.Config{URL: testServer, AllowOpenRecovery: true, Outbox: store})
	require.NoError(t, store.Close())
	assert.Equal(t, 503, ask(client.RecoveryHandler(), "GET", "/postoffice/messages/").Code)
	assert.Equal(t, 503, ask(client.RecoveryHandler(), "HEAD", "/postoffice/messages/").Code)
	assert.Equal(t, 503, ask(client.RecoveryHandler(), "DELETE", "/postoffice/messages/"+someID+"/").Code)
}

func TestServersRescuerRecovers(t *testing.T) {
	server := newServer(t)
	store := memory.New()
	var seen events
	mux := http.NewServeMux()
	app := httptest.NewServer(mux)
	defer app.Close()
	host := strings.Replace(app.URL, "http://", "http://us%40er:p%3Ass%2Fw%25rd@", 1)
	client := newTestClient(t, core.Config{
		URL: server.URL(), Outbox: store, Topics: []string{"orders"}, OriginHost: host, RecoveryEnabled: true, Observer: seen.observer(),
	})
	require.NoError(t, client.MountRoutes(core.Router{Native: mux, Handle: func(method, path string, handler http.Handler) {
		mux.Handle(method+" "+path, handler)
	}}))
	_, err := client.SetupTopics(t.Context())
	require.NoError(t, err)
	_, err = server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "sink", Type: postofficetest.TypePubSub})
	require.NoError(t, err)
	for id := range 3 {
		record := stored(someID[:35] + string(rune('1'+id)))
		require.NoError(t, store.Insert(t.Context(), 0, record))
	}
	runs := server.RunRescuer(t.Context())
	require.Len(t, runs, 1)
	assert.Empty(t, runs[0].Errors)
	assert.Equal(t, 3, runs[0].Published)
	assert.Len(t, server.MessagesOf("orders"), 3)
	assert.JSONEq(t, `{"region":"north"}`, string(server.MessagesOf("orders")[0].Attributes))
	assert.Empty(t, records(t, store))
	assert.Len(t, seen.of("recovered"), 3)
}

// fastStore has a clock that is ahead of everybody's.
type fastStore struct{ outbox.Store }

func (s fastStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	options.SkipScheduled = false
	return s.Store.Claim(ctx, options)
}

func TestScheduledMessagesAreNotRecoveredByAClockThatIsAhead(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		store := fastStore{memory.New()}
		scheduled := outbox.Record{ID: uuid.NewString(), Topic: "orders", Payload: []byte("{}"), Attributes: []byte("{}"), DeliverAt: time.Now().Add(time.Minute)}
		require.NoError(t, store.Insert(t.Context(), 0, scheduled))
		config.Outbox, config.AllowOpenRecovery = store, true
		client := newTestClient(t, config)
		list := func() string {
			w := httptest.NewRecorder()
			client.RecoveryHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, core.DefaultRecoveryPath, nil))
			require.Equal(t, http.StatusOK, w.Code)
			return w.Body.String()
		}
		assert.Equal(t, "[]", list())
		kept := records(t, store)
		require.Len(t, kept, 1)
		assert.Empty(t, kept[0].LeaseToken, "it is given back")
		assert.Zero(t, kept[0].Attempts)
		time.Sleep(time.Minute)
		assert.Contains(t, list(), scheduled.ID)
	})
}
