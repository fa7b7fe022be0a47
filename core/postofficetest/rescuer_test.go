package postofficetest_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// origin is an origin host that offers items until they are deleted.
type origin struct {
	*peer
	mu    sync.Mutex
	items map[string]string // by id
	order []string
}

// newOrigin offers the items, whose ids are 1, 2 and so on as the DELETE
// writes them, unless they are given.
func newOrigin(t *testing.T, items ...string) *origin {
	t.Helper()
	o := &origin{items: make(map[string]string)}
	for i, item := range items {
		id := string(rune('1' + i))
		o.items[id] = item
		o.order = append(o.order, id)
	}
	o.peer = newPeer(t, func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if r.Method == http.MethodDelete {
			delete(o.items, strings.Trim(strings.TrimPrefix(r.URL.Path, "/o/"), "/"))
			return
		}
		_, _ = io.WriteString(w, "["+strings.Join(o.listed(), ",")+"]")
	})
	return o
}

func (o *origin) listed() []string {
	var texts []string
	for _, id := range o.order {
		if text, found := o.items[id]; found {
			texts = append(texts, text)
		}
	}
	return texts
}

func (o *origin) left() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.items)
}

// methods tells the requests that the origin host got.
func (o *origin) methods() string {
	var texts []string
	for _, request := range o.requests() {
		texts = append(texts, request.method)
	}
	return strings.Join(texts, " ")
}

// recovering creates a topic with recovery from the origin host.
func recovering(t *testing.T, server *postofficetest.Server, host string) {
	t.Helper()
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "recovering", OriginHost: host, RecoveryEnabled: true}))
}

const good1, good3 = `{"id":1,"topic":"orders","payload":{"k":"g1"},"attributes":{"a":"b"},"bulk":false}`,
	`{"id":3,"topic":"orders","payload":{"k":"g3"},"attributes":{"a":"b"},"bulk":false}`

func TestRescuer(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	host := newOrigin(t, good1, strings.Replace(good1, `"id":1`, `"id":"2"`, 1), strings.Replace(good3, "orders", "nope", 1))
	recovering(t, server, strings.Replace(host.URL, "http://", "us%40er:p%3Ass%2Fw%25rd@", 1)+"/o/")
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "same host", OriginHost: server.Topics()[1].OriginHost, RecoveryEnabled: true}))

	server.Advance(30*time.Second - 1)
	require.Empty(t, host.requests())
	server.Advance(1)

	requests := host.requests()
	require.Len(t, requests, 3)
	for _, request := range requests {
		assert.Equal(t, http.Header{
			"User-Agent": {"hackney/1.18.1"}, "Authorization": {"Basic dXNAZXI6cDpzcy93JXJk"},
		}, request.header)
		assert.Empty(t, request.body)
	}
	assert.Equal(t, []string{"GET /o/", "DELETE /o/1/", "DELETE /o/2/"}, []string{
		requests[0].method + " " + requests[0].uri, requests[1].method + " " + requests[1].uri, requests[2].method + " " + requests[2].uri,
	})
	assert.Equal(t, 1, host.left(), "the item of an unknown topic stays")
	assert.Len(t, consumer.requests(), 2, "Advance waits for the deliveries")
	for _, message := range server.Messages() {
		assert.Equal(t, postofficetest.Rescued, message.Via)
	}

	runs := server.RescuerRuns()
	require.Len(t, runs, 1, "one run for the two topics of one host")
	assert.Equal(t, 2, runs[0].Published)
	assert.Equal(t, 1, runs[0].Skipped)
	assert.Equal(t, 3, runs[0].Listed)
	assert.Equal(t, []postofficetest.RescuerDelete{{ID: "1", Status: 200}, {ID: "2", Status: 200}}, runs[0].Deletes)
	assert.NotContains(t, runs[0].OriginHost, "@")
	assert.False(t, runs[0].Aborted)

	server.Advance(90 * time.Second)
	assert.Len(t, server.RescuerRuns(), 4)
}

// TestRescuerPoison follows the recorded runs: what stands behind an item
// that raises is never reached.
func TestRescuerPoison(t *testing.T) {
	for name, test := range map[string]struct {
		item      string
		published int // good1, and the poison item where it gets so far
	}{
		"topic missing":           {`{"id":2,"payload":{},"attributes":{},"bulk":false}`, 1},
		"topic null":              {`{"id":2,"topic":null,"payload":{},"attributes":{}}`, 1},
		"topic number":            {`{"id":2,"topic":5,"payload":{},"attributes":{}}`, 1},
		"bulk null":               {`{"id":2,"topic":"orders","payload":{},"attributes":{},"bulk":null}`, 1},
		"bulk string":             {`{"id":2,"topic":"orders","payload":[],"attributes":{},"bulk":"true"}`, 1},
		"bulk payload object":     {`{"id":2,"topic":"orders","payload":{"k":1},"attributes":{},"bulk":true}`, 1},
		"bulk payload plain list": {`{"id":2,"topic":"orders","payload":[{"k":1}],"attributes":{},"bulk":true}`, 1},
		"bulk payload of texts":   {`{"id":2,"topic":"orders","payload":["x"],"attributes":{},"bulk":true}`, 1},
		"bulk missing id":         {`{"payload":[],"bulk":true}`, 1},
		"NUL":                     {`{"id":2,"topic":"orders","payload":{"k":"a\u0000b"},"attributes":{}}`, 1},
		"no object":               {`"x"`, 1},
		"id object":               {`{"id":{"a":1},"topic":"orders","payload":{"k":"p"},"attributes":{}}`, 5},
	} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t)
			addTopic(t, server, "orders", newPeer(t, nil).URL)
			host := newOrigin(t, good1, test.item, good3)
			recovering(t, server, host.URL+"/o/")
			runs := server.RunRescuer(limited(t))
			require.Len(t, runs, 1)
			assert.Equal(t, "GET DELETE GET GET GET", host.methods())
			assert.Equal(t, 4, runs[0].Starts)
			assert.True(t, runs[0].Aborted)
			assert.Len(t, runs[0].Errors, 4)
			assert.Equal(t, test.published, runs[0].Published)
			assert.Equal(t, 2, host.left())
		})
	}
}

func TestRescuerLists(t *testing.T) {
	gzipped := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zipper := gzip.NewWriter(w)
		_, _ = io.WriteString(zipper, "[]")
		_ = zipper.Close()
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		starts int
	}{
		"nothing":       {text(200, ` [] `), 1},
		"gzip":          {gzipped, 4},
		"html":          {text(200, `<html>`), 4},
		"empty":         {text(200, ``), 4},
		"204":           {text(204, ``), 4},
		"null":          {text(200, `null`), 4},
		"wrapped":       {text(200, `{"count":1,"results":[]}`), 4},
		"404":           {text(404, `[]`), 1},
		"500":           {text(500, `[`+good1+`]`), 1},
		"redirect":      {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) }, 1},
		"no answer":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 1},
		"5 s and later": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := postofficetest.Start(t, postofficetest.WithSecond(10*time.Millisecond))
			host := newPeer(t, test.answer)
			recovering(t, server, host.URL+"/o/")
			runs := server.RunRescuer(limited(t))
			require.Len(t, runs, 1)
			assert.Equal(t, test.starts, runs[0].Starts)
			assert.Equal(t, test.starts == 4, runs[0].Aborted)
			assert.Len(t, host.requests(), test.starts)
			assert.Zero(t, runs[0].Published)
			assert.Equal(t, name == "nothing", len(runs[0].Errors) == 0)
		})
	}
}

func TestRescuerHosts(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for host, starts := range map[string]int{
		"not a url":                 1,
		"/relative/messages/":       4,
		"http://127.0.0.1:1/":       1,
		"http://127.0.0.1:99999/":   1,
		"http://nowhere.invalid/m/": 1,
		strings.Replace(plain.URL, "http:", "https:", 1) + "/": 4,
	} {
		t.Run(host, func(t *testing.T) {
			server := postofficetest.Start(t)
			recovering(t, server, host)
			assert.Equal(t, starts, server.RunRescuer(limited(t))[0].Starts)
		})
	}
}

func TestRescuerItems(t *testing.T) {
	for name, test := range map[string]struct {
		item, deleted string
		published     int
	}{
		"text id":               {`{"id":"a-b","topic":"orders","payload":{},"attributes":{}}`, "/o/a-b/", 1},
		"id needs no escape":    {`{"id":"a/b?c","topic":"orders","payload":{},"attributes":{}}`, "/o/a/b?c/", 1},
		"id list":               {`{"id":[1,2],"topic":"orders","payload":{},"attributes":{}}`, "/o/%01%02/", 1},
		"no payload":            {`{"id":1,"topic":"orders","attributes":{}}`, "/o/1/", 1},
		"attributes null":       {`{"id":1,"topic":"orders","payload":{},"attributes":null}`, "/o/1/", 1},
		"no consumers":          {`{"id":1,"topic":"lonely","payload":{},"attributes":{}}`, "/o/1/", 1},
		"NUL without consumers": {`{"id":1,"topic":"lonely","payload":{"k":"\u0000"},"attributes":{}}`, "/o/1/", 1},
		"bulk":                  {`{"id":1,"bulk":true,"payload":[` + good1 + `,` + good3 + `]}`, "/o/1/", 2},
		"bulk of nothing":       {`{"id":1,"bulk":true,"payload":[]}`, "/o/1/", 0},
		"bulk unknown topic":    {`{"id":1,"bulk":true,"payload":[` + good1 + `,{"topic":"nope"}]}`, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t)
			addTopic(t, server, "orders", newPeer(t, nil).URL)
			addTopic(t, server, "lonely")
			host := newOrigin(t, test.item)
			recovering(t, server, host.URL+"/o/")
			runs := server.RunRescuer(limited(t))
			assert.Equal(t, test.published, runs[0].Published)
			assert.Len(t, server.Messages(), test.published)
			deleted := ""
			for _, request := range host.requests()[1:] {
				deleted += request.uri
			}
			assert.Equal(t, test.deleted, deleted)
		})
	}
}

// The address of a DELETE is a plain concatenation.
func TestRescuerConcatenates(t *testing.T) {
	for suffix, want := range map[string]string{"/o/messages": "/o/messages1/", "/o/?token=abc": "/o/?token=abc1/"} {
		server := postofficetest.Start(t)
		addTopic(t, server, "orders")
		host := newOrigin(t, good1)
		recovering(t, server, host.URL+suffix)
		server.RunRescuer(limited(t))
		requests := host.requests()
		require.Len(t, requests, 2)
		assert.Equal(t, suffix, requests[0].uri)
		assert.Equal(t, want, requests[1].uri)
		assert.Equal(t, 1, host.left(), "the item comes again")
	}
}

func TestRescuerOverridesAndDeleteFailures(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithSecond(10*time.Millisecond))
	registered, other := newPeer(t, nil), newPeer(t, nil)
	addTopic(t, server, "orders", registered.URL)
	list := `[` + strings.Replace(good1, `"bulk"`, `"target":"`+other.URL+`","bulk"`, 1) + `,` + good3 + `]`
	host := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/o/1/":
			<-r.Context().Done()
		case "/o/3/":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			_, _ = io.WriteString(w, list)
		}
	})
	recovering(t, server, host.URL+"/o/")
	runs := server.RunRescuer(limited(t))
	assert.Equal(t, []postofficetest.RescuerDelete{{ID: "1"}, {ID: "3", Status: 500}}, runs[0].Deletes)
	assert.Equal(t, 1, runs[0].Starts)
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Len(t, other.requests(), 1)
	assert.Len(t, registered.requests(), 1)

	server.RunRescuer(limited(t))
	require.NoError(t, server.WaitIdle(limited(t)))
	requests := registered.requests()
	require.Len(t, requests, 2, "what stays listed is delivered again")
	assert.NotEqual(t, requests[0].header.Get(wire.MessageIDHeader), requests[1].header.Get(wire.MessageIDHeader))
}
