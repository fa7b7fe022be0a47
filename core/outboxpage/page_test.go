package outboxpage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestOptions(t *testing.T) {
	client := start(t).client
	allowAll := func(*http.Request) bool { return true }
	for field, try := range map[string]func() (http.Handler, error){
		"client":            func() (http.Handler, error) { return Handler(nil, Options{Authorize: allowAll}) },
		"Options.Authorize": func() (http.Handler, error) { return Handler(client, Options{}) },
		"Options.Path":      func() (http.Handler, error) { return Handler(client, Options{Authorize: allowAll, Path: "/outbox"}) },
	} {
		handler, err := try()
		assert.Nil(t, handler)
		require.ErrorIs(t, err, core.ErrInvalidConfig)
		fault, _ := errors.AsType[*core.FieldError](err)
		require.NotNil(t, fault)
		assert.Equal(t, field, fault.Field)
	}
	for path, good := range map[string]bool{"/": true, "/a/": true, "/a/b/": true, "": true, "a/": false, "//": false, "/a//": false, "/../": false, "/a?b/": false, `/a\b/`: false,
		"/a{b}/": false, "/a:b/": false, "/*a/": false, "/a b/": false, "/a\nb/": false, "/a%2fb/": false, "/größe/": true} {
		_, err := Handler(client, Options{Authorize: allowAll, Path: path})
		assert.Equal(t, good, err == nil, path)
	}
}

// all has requests to every address of the page.
var all = [][2]string{
	{"GET", ""}, {"HEAD", ""}, {"GET", "message?id=" + id(1)}, {"GET", "part?part=payload&id=" + id(1)}, {"GET", "style.css"}, {"GET", "page.js"}, {"GET", "icon.svg"},
	{"POST", "retry"}, {"POST", "discard"}, {"GET", "nothing"}, {"GET", "not/even"}, {"DELETE", ""},
}

func TestAuthorize(t *testing.T) {
	var asked atomic.Int64
	a := start(t, func(_ *core.Config, o *Options) {
		o.Authorize = func(r *http.Request) bool {
			asked.Add(1)
			user, password, _ := r.BasicAuth()
			return user == "ada" && password == "right"
		}
	})
	a.store.Add(1, "orders")
	for i, one := range all {
		got := a.do(one[0], one[1], url.Values{"all": {"yes"}, "confirmed": {"yes"}})
		assert.Equal(t, http.StatusForbidden, got.status, one)
		assert.Equal(t, "no-store", got.header.Get("Cache-Control"))
		assert.NotContains(t, got.body, "orders")
		assert.EqualValues(t, i+1, asked.Load())
	}
	assert.Len(t, a.store.Entries(), 1)
	assert.Equal(t, 200, a.do("GET", "", nil, "Authorization", "Basic YWRhOnJpZ2h0").status)
}

func TestHeaders(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders")
	for _, one := range all {
		header := a.do(one[0], one[1], nil).header
		assert.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'", one)
		assert.NotContains(t, header.Get("Content-Security-Policy"), "unsafe")
		assert.Equal(t, "no-store", header.Get("Cache-Control"), one)
		assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		assert.Equal(t, "same-origin", header.Get("Referrer-Policy"))
	}
	for _, address := range []string{"", "message?id=" + id(1)} {
		for _, text := range []string{"<script>", "<style", " style=", " onclick"} {
			assert.NotContains(t, a.get(address), text)
		}
	}
	assert.Contains(t, a.do("GET", "part?part=payload&id="+id(1), nil).header.Get("Content-Security-Policy"), "sandbox")
	assert.Equal(t, "text/css; charset=utf-8", a.do("GET", "style.css", nil).header.Get("Content-Type"))
	assert.Equal(t, "image/svg+xml", a.do("GET", "icon.svg", nil).header.Get("Content-Type"))
	assert.Equal(t, "text/javascript; charset=utf-8", a.do("GET", "page.js", nil).header.Get("Content-Type"))
}

func TestAddresses(t *testing.T) {
	a := start(t, func(_ *core.Config, o *Options) { o.Path = "/ops/outbox/" })
	for request, status := range map[string]int{
		"GET nothing": 404, "GET a/b": 404, "GET message": 400, "GET message?id=" + id(7): 404, "GET message?id=%00": 400,
		"GET message?id=%ff": 400, "GET message?id=" + strings.Repeat("x", 256): 400, "GET part?id=" + id(7): 404,
		"GET ?state=held": 400, "GET ?topic=%00": 400, "GET ?after=%00": 400, "GET ?topic=" + strings.Repeat("x", 4097): 400,
		"GET retry": 405, "GET discard": 405, "POST ": 405, "POST message": 405, "DELETE ": 405, "HEAD ": 200, "GET ?note=%3Ci%3E&count=x": 200,
	} {
		method, address, _ := strings.Cut(request, " ")
		got := a.do(method, address, nil)
		assert.Equal(t, status, got.status, request)
		assert.NotContains(t, got.body, "<i>")
	}
	assert.Equal(t, "POST", a.do("GET", "retry", nil).header.Get("Allow"))
	site := strings.TrimSuffix(a.url, "/ops/outbox/")
	for path, status := range map[string]int{"/ops/outbox": 303, "/": 404, "/ops/": 404} {
		response, err := a.http.Get(site + path)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, status, response.StatusCode, path)
		if status == 303 {
			location, err := response.Location()
			require.NoError(t, err)
			assert.Equal(t, a.url, location.String())
		}
	}
}

func TestOtherSites(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders")
	form := url.Values{"all": {"yes"}, "confirmed": {"yes"}}
	for _, address := range []string{"retry", "discard"} {
		assert.Equal(t, 403, a.do("POST", address, form, "Sec-Fetch-Site", "cross-site").status)
		assert.Equal(t, 403, a.do("POST", address, form, "Origin", "https://evil.example").status)
	}
	assert.Len(t, a.store.Entries(), 1)
	assert.Equal(t, 303, a.do("POST", "discard", form, "Sec-Fetch-Site", "same-origin").status)
	assert.Empty(t, a.store.Entries())
}

func TestList(t *testing.T) {
	a := start(t)
	assert.Contains(t, a.get(""), "No messages. Everything is delivered.")
	a.store.AddStates()
	a.page.stats.forget()
	body := a.get("")
	for _, text := range []string{
		"orders", "bills", id(1), id(4), ">dead<", ">retrying<", ">held<", ">waiting<", "in 4 minutes", "in progress, else in 5 minutes", ">now<",
		"server answered 503: Service Unavailable", "payload is invalid", `id="count-waiting">2<`, `id="count-held">1<`, `id="count-dead">1<`,
		"Retry all <bdi>messages</bdi>",
	} {
		assert.Contains(t, body, text)
	}
	assert.NotContains(t, body, "hush", "payloads are not in the list unless asked for")
	assert.Contains(t, a.get("?payloads=show"), "{&#34;order&#34;:1,&#34;secret&#34;:&#34;hush&#34;}")
	assert.Equal(t, 4, strings.Count(a.get("?mark=page"), " checked"))

	for query, want := range map[string][]int{
		"?topic=orders": {1, 2}, "?state=dead": {1}, "?state=pending": {2, 3, 4}, "?topic=bills&state=pending": {3, 4}, "?topic=bills&state=dead": nil, "?topic=none": nil,
	} {
		body := a.get(query)
		for n := 1; n <= 4; n++ {
			assert.Equal(t, strings.Contains(body, id(n)), contains(want, n), "%s: %d", query, n)
		}
	}
	assert.Contains(t, a.get("?topic=bills&state=dead"), "There are no dead messages of “bills”.")
}

func contains(list []int, n int) bool {
	for _, one := range list {
		if one == n {
			return true
		}
	}
	return false
}

func TestPaging(t *testing.T) {
	a := start(t)
	const many = 2*pageRows + 1
	for n := range many {
		topic := "orders"
		if n%2 == 1 {
			topic = "bills"
		}
		a.store.Add(n, topic)
	}
	next := func(body string) string {
		before, _, found := strings.Cut(body, `" rel="next"`)
		if !found {
			return ""
		}
		return strings.TrimPrefix(strings.ReplaceAll(before[strings.LastIndex(before, `"`)+1:], "&amp;", "&"), "./")
	}
	seen := 0
	address, pages := "", 0
	for {
		body := a.get(address)
		assert.Equal(t, address != "", strings.Contains(body, "Back to the first page"))
		rows := strings.Count(body, `name="id"`)
		assert.Contains(t, body, id(seen))
		seen += rows
		pages++
		if address = next(body); address == "" {
			break
		}
	}
	assert.Equal(t, many, seen)
	assert.Equal(t, 3, pages)
	link := next(a.get("?topic=orders&state=pending"))
	assert.Contains(t, link, "topic=orders")
	assert.Contains(t, link, "state=pending")
	assert.Empty(t, next(a.get(link)))
	assert.Contains(t, a.get("?after="+id(many)), "No more messages.")
}

func TestMessage(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders", func(r *outbox.Record) { r.DeliverAt = time.Now().Add(3*time.Hour + time.Minute) })
	a.store.Add(2, "orders", pagetest.Dead)
	body := a.get("message?id=" + id(1) + "&topic=orders&after=" + id(0))
	for _, text := range []string{"orders", "waiting", "in 3 hours", "hush", "attributed", `href="./?after=` + id(0) + "&amp;topic=orders"} {
		assert.Contains(t, body, text)
	}
	hidden := a.get("message?payloads=hide&id=" + id(1))
	assert.NotContains(t, hidden, "hush")
	assert.NotContains(t, hidden, "attributed")
	assert.Contains(t, hidden, "Show them")
	assert.Contains(t, a.get("message?id="+id(2)), "payload is invalid")
	got := a.do("GET", "part?part=payload&id="+id(1), nil)
	assert.Equal(t, `{"order":1,"secret":"hush"}`, got.body)
	assert.Equal(t, "text/plain; charset=utf-8", got.header.Get("Content-Type"))
	assert.JSONEq(t, `{"kind":"attributed"}`, a.get("part?part=attributes&id="+id(1)))
	assert.Equal(t, 404, a.do("GET", "part?part=error&id="+id(1), nil).status)
}

// TestMetadata checks that metadata in the payload is shown separately, also if only
// the beginning of the payload is read.
func TestMetadata(t *testing.T) {
	a := start(t)
	metadata := `{"message_id":"m-7","tenant":"<b>","tracestate":"` + strings.Repeat("t", 512) + `"}` // the maximum of W3C Trace Context
	for n, rest := range map[int]string{1: "", 2: strings.Repeat("long", webpage.ReadContent)} {
		payload := `{"_postoffice":` + metadata + `,"order":7,"rest":"` + rest + `"}`
		a.store.Add(n, "orders", func(r *outbox.Record) { r.Payload = json.RawMessage(payload) })
		body := a.get("message?id=" + id(n))
		parts := regexp.MustCompile(`(?s)<pre tabindex="0" aria-label="(\w+)"><bdi>(.*?)</bdi>`).FindAllStringSubmatch(body, -1)
		require.Len(t, parts, 3)
		assert.Equal(t, "Payload", parts[0][1])
		assert.NotContains(t, parts[0][2], "_postoffice")
		assert.Contains(t, parts[0][2], "order")
		assert.Equal(t, "Metadata", parts[1][1])
		assert.JSONEq(t, metadata, html.UnescapeString(parts[1][2]))
		assert.Equal(t, "Attributes", parts[2][1])
		assert.Equal(t, payload, a.get("part?part=payload&id="+id(n)), "as it is stored")
		assert.NotContains(t, a.get("message?payloads=hide&id="+id(n)), "m-7")
	}
	list := a.get("?payloads=show")
	assert.Equal(t, 2, strings.Count(list, "{&#34;order&#34;:7,"), list)
	assert.NotContains(t, list, "m-7")

	a.store.Add(3, "orders")
	assert.NotContains(t, a.get("message?id="+id(3)), "Metadata")
	a.store.Add(4, "orders", func(r *outbox.Record) { r.Payload = json.RawMessage(`{"_postoffice":["foreign"]}`) })
	assert.Contains(t, a.get("message?id="+id(4)), "foreign")
}

func TestHidePayloads(t *testing.T) {
	a := start(t, func(_ *core.Config, o *Options) { o.HidePayloads = true })
	a.store.Add(1, "orders")
	for _, address := range []string{"", "?payloads=show", "message?id=" + id(1), "message?payloads=show&id=" + id(1), "part?part=payload&id=" + id(1), "part?part=attributes&id=" + id(1)} {
		got := a.do("GET", address, nil)
		assert.NotContains(t, got.body, "hush", address)
		assert.NotContains(t, got.body, "attributed", address)
		assert.NotContains(t, got.body, "payloads=", address)
	}
	assert.Equal(t, 403, a.do("GET", "part?part=payload&id="+id(1), nil).status)
}

// A message is found by its id among others that are like it.
func TestFind(t *testing.T) {
	a := start(t)
	names := []string{"a", "b", "m-9", "m-99", "m-999", "m-1", "m-10", "é", "e\u0301", "with space\r\n&", "m ", "m\x01", " "}
	for i := range 30 {
		names = append(names, fmt.Sprintf("%s%02d", "p-\u00e9", i), id(i))
	}
	for _, name := range names {
		a.store.Add(0, name, func(r *outbox.Record) { r.ID = name })
	}
	for _, name := range names {
		body := a.get("message?id=" + url.QueryEscape(name))
		assert.Contains(t, body, `value="`+html.EscapeString(url.PathEscape(name))+`"`)
	}
	assert.Equal(t, 404, a.do("GET", "message?id=m-9999", nil).status)
	for _, name := range names {
		a.post("discard", url.Values{"id": {url.PathEscape(name)}, "confirmed": {"yes"}})
	}
	assert.Empty(t, a.store.Entries())
}

func TestRetry(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	assert.Equal(t, "./?count=2&note=retried", a.post("retry", url.Values{"id": {id(1), id(2), id(99)}}))
	assert.Contains(t, a.get("?count=2&note=retried"), "Retrying 2 messages now.")
	for _, record := range a.store.Entries()[:2] {
		assert.Equal(t, outbox.Pending, record.State)
		assert.False(t, record.DueAt.After(time.Now().Add(time.Second)))
	}
	location := a.post("retry?after="+id(1)+"&topic=orders", url.Values{"id": {id(99)}})
	assert.Contains(t, location, "after="+id(1))
	assert.Contains(t, a.get(strings.TrimPrefix(location, "./")), "Nothing was retried")
	assert.Equal(t, "./?count=2&note=retried&topic=bills", a.post("retry?topic=bills", url.Values{"all": {"yes"}}))
	assert.Equal(t, "./?count=4&note=retried", a.post("retry", url.Values{"all": {"yes"}}))
	assert.Contains(t, a.get(strings.TrimPrefix(a.post("retry", url.Values{}), "./")), "No message was selected")
}

// A retried message is delivered if the server accepts it now.
func TestRetryDelivers(t *testing.T) {
	a := start(t)
	require.NoError(t, a.server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://127.0.0.1:9/"}))
	a.store.Add(1, "orders", pagetest.Dead)
	require.NoError(t, a.client.Start(t.Context()))
	a.post("retry", url.Values{"id": {id(1)}})
	require.Eventually(t, func() bool { return len(a.store.Entries()) == 0 }, 20*time.Second, 5*time.Millisecond)
	assert.Len(t, a.server.MessagesOf("orders"), 1)
	assert.Contains(t, a.get(""), "Everything is delivered.")
}

func TestDiscard(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	confirm := func(address string, fields url.Values) string {
		before := a.store.IDs()
		got := a.do("POST", address, fields)
		assert.Equal(t, 200, got.status)
		assert.Equal(t, before, a.store.IDs(), "nothing is discarded unconfirmed")
		fields.Set("confirmed", "yes")
		a.post(address, fields)
		return got.body
	}
	body := confirm("discard", url.Values{"id": {id(2), id(3)}})
	assert.Contains(t, body, "Discard 2 messages?")
	assert.Contains(t, body, id(3))
	assert.NotContains(t, body, "hush")
	assert.Equal(t, []string{id(1), id(4)}, a.store.IDs())
	a.store.Add(5, "bills", pagetest.Dead)
	body = confirm("discard?topic=bills&state=dead", url.Values{"all": {"yes"}})
	assert.Contains(t, body, "Discard 1 dead message of “bills”?")
	assert.Contains(t, body, "Keep it</a>")
	assert.Equal(t, []string{id(1), id(4)}, a.store.IDs())
	confirm("discard?state=dead", url.Values{"all": {"yes"}})
	assert.Equal(t, []string{id(4)}, a.store.IDs())
	for n := range 1233 {
		a.store.Add(100+n, "orders")
	}
	body = confirm("discard?state=pending", url.Values{"all": {"yes"}})
	assert.Contains(t, body, "Discard all 1,234 messages to deliver?")
	assert.Contains(t, body, "Discard 1,234 messages</button>")
	assert.Contains(t, body, "Keep them</a>")
	assert.Empty(t, a.store.IDs())
	assert.Contains(t, a.get("?note=discarded&count=1"), "1 message was discarded.")
}

// Discarding all of no messages needs no confirmation.
func TestDiscardAllOfNothing(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders")
	location := a.post("discard?topic=bills", url.Values{"all": {"yes"}})
	assert.Equal(t, "./?count=0&note=discarded&topic=bills", location)
	assert.Contains(t, a.get(strings.TrimPrefix(location, "./")), "Nothing was discarded")
	require.NoError(t, a.store.Close())
	got := a.do("POST", "discard", url.Values{"all": {"yes"}})
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.Contains(t, got.body, "The outbox cannot be read")
}

// slowCount is an outbox that counts until the context ends.
type slowCount struct{ outbox.Store }

func (slowCount) Count(ctx context.Context, _ outbox.Selection) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// The confirmation has no number if counting takes too long.
func TestSlowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: "http://postoffice.test", Outbox: slowCount{memory.New()}, Logger: quiet})
		require.NoError(t, err)
		p := &page{client: client, box: client.Outbox(), words: outboxWords}
		ask := func(ctx context.Context) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/discard?state=dead", strings.NewReader("all=yes"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			p.discard(w, r)
			return w
		}
		began := time.Now()
		got := ask(t.Context())
		assert.Equal(t, countTimeout, time.Since(began))
		assert.Equal(t, http.StatusOK, got.Code)
		assert.Contains(t, got.Body.String(), "Discard all dead messages?")
		assert.Contains(t, got.Body.String(), "Discard them all</button>")
		gone, leave := context.WithCancel(t.Context())
		leave()
		assert.Equal(t, http.StatusServiceUnavailable, ask(gone).Code)
		require.NoError(t, client.Stop(t.Context()))
	})
}

func TestBadForms(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders")
	chosen := make([]string, maxChosen+1)
	for i := range chosen {
		chosen[i] = id(i)
	}
	for name, c := range map[string]struct {
		query  string
		fields url.Values
		status int
		want   string
	}{
		"both":       {"", url.Values{"all": {"yes"}, "id": {id(1)}}, 400, "both all messages and some"},
		"id, NUL":    {"", url.Values{"id": {"%00"}}, 400, "the id of a message"},
		"id, escape": {"", url.Values{"id": {"%zz"}}, 400, "the id of a message"},
		"id, empty":  {"", url.Values{"id": {""}}, 400, "the id of a message"},
		"state":      {"?state=gone", url.Values{"all": {"yes"}}, 400, "the state must be"},
		"topic":      {"?topic=%00", url.Values{"all": {"yes"}}, 400, "the topic must be"},
		"after":      {"?after=%00", url.Values{"all": {"yes"}}, 400, "the id of a message"},
		"many":       {"", url.Values{"id": chosen}, 400, "more than 1,000 messages"},
		"large":      {"", url.Values{"id": {strings.Repeat("x", maxForm)}}, 413, "at most 1.0 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, address := range []string{"retry", "discard"} {
				c.fields.Set("confirmed", "yes")
				got := a.do("POST", address+c.query, c.fields)
				assert.Equal(t, c.status, got.status)
				assert.Contains(t, got.body, c.want)
			}
		})
	}
	// Only "yes" confirms, and ids in the address are ignored.
	a.do("POST", "discard", url.Values{"all": {"yes"}, "confirmed": {"no"}})
	for _, address := range []string{"retry", "discard"} {
		assert.Contains(t, a.post(address+"?confirmed=yes&all=yes&id="+id(1), url.Values{}), "note=none")
	}
	assert.Len(t, a.store.IDs(), 1)
}

func TestServer(t *testing.T) {
	a := start(t, func(c *core.Config, _ *Options) {
		c.OriginHost = "http://user:secret@127.0.0.1:9"
		c.Topics = []string{"orders"}
		c.Consumers = []core.Consumer{{Topic: "bills", Target: "http://user:secret@127.0.0.1:9/<i>"}}
	})
	body := a.get("")
	for _, text := range []string{">healthy<", "closed: messages go to the server", "2 not tried yet"} {
		assert.Contains(t, body, text)
	}
	_, err := a.client.Setup(t.Context())
	require.Error(t, err)
	body = a.get("")
	assert.Contains(t, body, "1 of 2 failed")
	assert.Contains(t, body, "topic is invalid")
	assert.NotContains(t, body, "secret")
	assert.NotContains(t, body, "<i>")
	a.server.FailNext(5, 503)
	for range 5 {
		_, err := a.client.Publish(t.Context(), "orders", map[string]any{})
		require.NoError(t, err)
	}
	assert.Contains(t, a.get(""), "open: messages go to the outbox")
	assert.NotContains(t, a.get(""), "breaker of the outbox")
}

// unreachable is the transport of a server that cannot be reached.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("unreachable")
}

// silent is an outbox that does not respond to inserts.
type silent struct{ outbox.Store }

func (silent) Insert(ctx context.Context, _ time.Duration, _ ...outbox.Record) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestOutboxThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{
			URL: "http://postoffice.test", Outbox: silent{memory.New()}, Logger: quiet,
			HTTPClient: &http.Client{Transport: unreachable{}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
		handler, err := Handler(client, Options{Authorize: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		for range 3 {
			_, err := client.Publish(t.Context(), "orders", map[string]any{})
			require.ErrorIs(t, err, core.ErrNotAccepted)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultPath, nil))
		assert.Contains(t, w.Body.String(), "open: the outbox does not respond")
	})
}

// The server is checked once for many viewers, and the page is served even if the
// server does not respond.
func TestHealth(t *testing.T) {
	a := start(t, func(c *core.Config, _ *Options) { c.Timeout = time.Hour })
	a.store.Add(1, "orders")
	a.server.Hang()
	t.Cleanup(a.server.Resume)
	requests := len(a.server.Requests())
	for range 3 {
		body := a.get("")
		assert.Contains(t, body, "no response")
		assert.Contains(t, body, id(1))
	}
	assert.LessOrEqual(t, len(a.server.Requests())-requests, 1)
	b := start(t)
	b.server.SetUnwell(true)
	assert.Contains(t, b.get(""), "unhealthy")
	b.server.SetUnwell(false)
	assert.Contains(t, b.get(""), "unhealthy", "the result is cached for some seconds")
}

func TestNoOutbox(t *testing.T) {
	a := start(t, func(c *core.Config, _ *Options) { c.Outbox = nil })
	got := a.do("GET", "", nil)
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.Contains(t, got.body, "the client has no outbox")
	assert.Contains(t, got.body, ">healthy<")
	assert.Equal(t, 503, a.do("GET", "message?id="+id(1), nil).status)
	assert.Equal(t, 503, a.do("POST", "retry", url.Values{"all": {"yes"}}).status)
}

func TestHostileTexts(t *testing.T) {
	a := start(t)
	a.store.AddHostile(1)
	key, topic := url.QueryEscape(pagetest.Hostile+"\n"), url.QueryEscape(pagetest.Hostile+"\r\n")
	chosen := url.Values{"id": {url.PathEscape(pagetest.Hostile + "\n")}}
	for address, body := range map[string]string{
		"list": a.get("?payloads=show&topic=" + topic), "message": a.get("message?id=" + key),
		"confirm": a.do("POST", "discard", chosen).body, "confirm all": a.do("POST", "discard?topic="+topic, url.Values{"all": {"yes"}}).body,
	} {
		assert.Contains(t, body, "&lt;script&gt;", address)
		assert.NotContains(t, body, "<script>", address)
		assert.NotContains(t, body, "<img", address)
		// The field of the filter holds the topic as it is.
		visible := strings.ReplaceAll(body, `value="`+strings.NewReplacer("<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(pagetest.Hostile), "")
		assert.NotContains(t, visible, "\u202e", address)
	}
	a.post("discard?topic="+topic, url.Values{"all": {"yes"}, "confirmed": {"yes"}})
	assert.Empty(t, a.store.IDs())
}

// queries is an outbox that records the queries.
type queries struct {
	outbox.Store
	list []outbox.Query
	read int // bytes of payloads and attributes
}

func (q *queries) List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error) {
	entries, err := q.Store.List(ctx, query)
	q.list, q.read = append(q.list, query), 0
	for _, entry := range entries {
		q.read += len(entry.Payload) + len(entry.Attributes)
	}
	return entries, err
}

func TestLargePayload(t *testing.T) {
	var seen *queries
	a := start(t, func(c *core.Config, _ *Options) {
		seen = &queries{Store: c.Outbox}
		c.Outbox = seen
	})
	payload := `{"text":"` + strings.Repeat("é<b>", 1<<18) + `"}`
	attributes := `{"text":"` + strings.Repeat("\U0001F40E", 1<<17) + `"}`
	for n := range 3 {
		a.store.Add(n, "orders", func(r *outbox.Record) {
			r.Payload, r.Attributes = json.RawMessage(payload), json.RawMessage(attributes)
		})
	}
	body := a.get("message?id=" + id(1))
	assert.Less(t, len(body), 1_000_000)
	assert.Equal(t, 2, strings.Count(body, "Only the beginning is shown."))
	assert.Contains(t, body, "Raw payload</a>, "+size(int64(len(payload))))
	assert.Contains(t, body, "Raw attributes</a>, "+size(int64(len(attributes))))
	assert.Contains(t, body, "<dd>"+size(int64(len("orders")+len(payload)+len(attributes)))+"</dd>")
	assert.Equal(t, 2*webpage.ReadContent, seen.read)
	a.get("message?payloads=hide&id=" + id(1))
	assert.Zero(t, seen.read, "hidden payloads are not read")
	assert.Less(t, len(a.get("?payloads=show")), 30_000)
	assert.Equal(t, 3*2*webpage.ReadPreview, seen.read)
	a.get("")
	assert.Zero(t, seen.read, "payloads that are not shown are not read")
	assert.Equal(t, payload, a.get("part?part=payload&id="+id(1)))
	assert.Equal(t, attributes, a.get("part?part=attributes&id="+id(1)))
	for _, query := range seen.list {
		assert.LessOrEqual(t, query.Limit, pageRows+1)
	}
}

// Only complete characters are shown, although a text is read up to any byte.
func TestCutCharacters(t *testing.T) {
	a := start(t)
	shown := func(n, most int) string {
		return "<bdi>{" + strings.Repeat("x", n) + strings.Repeat("\U0001F40E", most-1-n) + "…</bdi>"
	}
	for n := range 5 {
		text := json.RawMessage("{" + strings.Repeat("x", n) + strings.Repeat("\U0001F40E", 30_000) + "}")
		a.store.Add(n, "orders", func(r *outbox.Record) { r.Payload, r.Attributes = text, text })
		assert.Equal(t, 2, strings.Count(a.get("message?id="+id(n)), shown(n, webpage.MaxContent)), n)
	}
	body := a.get("?payloads=show")
	for n := range 5 {
		assert.Contains(t, body, shown(n, webpage.MaxPreview))
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", time.Second: "1 second", 89 * time.Second: "89 seconds", 90 * time.Second: "2 minutes", 4*time.Minute + 20*time.Second: "4 minutes",
		89 * time.Minute: "89 minutes", 2 * time.Hour: "2 hours", 35 * time.Hour: "35 hours", 36 * time.Hour: "2 days", 1000 * 24 * time.Hour: "1,000 days", -time.Hour: "0 seconds",
	} {
		assert.Equal(t, want, span(d), d.String())
	}
	assert.Equal(t, "now", in(-time.Hour))
	assert.Equal(t, "just now", ago(0))
	for bytes, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1000: "1.0 kB", 12_345: "12 kB", 999_999: "1.0 MB", 1 << 40: "1.1 TB"} {
		assert.Equal(t, want, size(bytes))
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		assert.Equal(t, want, webpage.Grouped(n))
	}
}

// A dead message that was retried before the form was sent is not discarded.
func TestChosenMessagesOfAnotherState(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders", pagetest.Dead)
	a.store.Add(2, "orders", pagetest.Dead)
	_, err := a.client.Outbox().Retry(t.Context(), outbox.Selection{IDs: []string{id(1)}})
	require.NoError(t, err)
	location := a.post("discard?state=dead", url.Values{"id": {id(1), id(2)}, "confirmed": {"yes"}})
	assert.Equal(t, "./?count=1&note=discarded&state=dead", location)
	assert.Equal(t, []string{id(1)}, a.store.IDs())
}

// hanging is an outbox that does not respond.
type hanging struct{ outbox.Store }

func (hanging) Stats(ctx context.Context) (outbox.Stats, error) {
	<-ctx.Done()
	return outbox.Stats{}, ctx.Err()
}

func (hanging) List(ctx context.Context, _ outbox.Query) ([]outbox.Entry, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Timeouts of the outbox and the server do not add up, and the page shows the rest.
func TestHangingOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: "http://postoffice.test", Outbox: hanging{memory.New()}, Logger: quiet})
		require.NoError(t, err)
		p, err := newPage(client, Options{Authorize: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		p.health.ask = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		w := httptest.NewRecorder()
		began := time.Now()
		p.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultPath, nil))
		assert.Equal(t, storeTimeout, time.Since(began))
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Contains(t, w.Body.String(), "The counts cannot be read")
		assert.Contains(t, w.Body.String(), "no response")
		require.NoError(t, client.Stop(t.Context()))
	})
}

// An invalid query is refused even if Authorize parses the form and ignores the error.
func TestAddressesThatCannotBeRead(t *testing.T) {
	a := start(t, func(_ *core.Config, o *Options) {
		o.Authorize = func(r *http.Request) bool { return r.FormValue("token") == "" }
	})
	a.store.Add(1, "orders")
	a.store.Add(2, "bills")
	for _, address := range []string{"discard?topic=a;b", "discard?topic=%zz", "retry?state=dead;topic=a"} {
		got := a.do(http.MethodPost, address, url.Values{"all": {"yes"}, "confirmed": {"yes"}})
		assert.Equal(t, http.StatusBadRequest, got.status, address)
	}
	assert.Equal(t, http.StatusBadRequest, a.do(http.MethodGet, "?topic=%zz", nil).status)
	assert.Equal(t, []string{id(1), id(2)}, a.store.IDs())
	got := a.do(http.MethodPost, "discard", url.Values{"id": {strings.Repeat("x", maxForm)}})
	assert.NotEqual(t, http.StatusOK, got.status, "the limit of forms applies in Authorize too")
}

// A Challenge makes browsers ask for credentials.
func TestChallenge(t *testing.T) {
	a := start(t, func(_ *core.Config, o *Options) {
		o.Challenge = `Basic realm="outbox"`
		o.Authorize = func(r *http.Request) bool { _, _, ok := r.BasicAuth(); return ok }
	})
	got := a.do(http.MethodGet, "", nil)
	assert.Equal(t, http.StatusUnauthorized, got.status)
	assert.Equal(t, `Basic realm="outbox"`, got.header.Get("WWW-Authenticate"))
}

// broken is an outbox whose driver panics.
type broken struct{ outbox.Store }

func (broken) Stats(context.Context) (outbox.Stats, error) { panic("driver") }

// A panic of the store is raised in the request's goroutine, where the server recovers.
func TestPanicsStayInTheRequest(t *testing.T) {
	client, err := core.NewClient(core.Config{URL: "http://127.0.0.1:1", Outbox: broken{memory.New()}, Logger: quiet})
	require.NoError(t, err)
	p, err := newPage(client, Options{Authorize: func(*http.Request) bool { return true }})
	require.NoError(t, err)
	assert.PanicsWithValue(t, "driver", func() {
		p.handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultPath, nil))
	})
	require.NoError(t, client.Stop(t.Context()))
}

// section returns the part of a page with an id.
func section(t *testing.T, page, id string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, `id="`+id+`"`)
	require.True(t, found, id)
	part, _, _ := strings.Cut(rest, "</section>")
	return part
}

// The topics are listed with the number of messages in each state and a link to their
// messages.
func TestTopics(t *testing.T) {
	a := start(t)
	assert.Contains(t, a.get(""), "No topic has messages.")
	a.store.AddStates()
	a.page.topics.forget()
	topics := section(t, a.get("?state=pending"), "topics")
	rows := regexp.MustCompile(`(?s)<td role="cell"><a href="([^"]*)"[^>]*><bdi>(.*?)</bdi></a></td>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(?:<a href="([^"]*)"[^>]*>)?(\d+)`).FindAllStringSubmatch(topics, -1)
	require.Len(t, rows, 2)
	assert.Equal(t, []string{"./?topic=bills", "bills", "1", "1", "", "0"}, rows[0][1:])
	assert.Equal(t, []string{"./?topic=orders", "orders", "1", "0", "./?state=dead&amp;topic=orders", "1"}, rows[1][1:])
	assert.Contains(t, section(t, a.get("?topic=orders"), "topics"), `<a href="./?topic=orders" aria-current="true">`)

	// Counts are cached until a message is changed on the page.
	a.page.topics.mu.Lock()
	a.page.topics.good = time.Now().Add(time.Hour)
	a.page.topics.mu.Unlock()
	a.store.Add(5, "parcels")
	assert.NotContains(t, section(t, a.get(""), "topics"), "parcels")
	a.post("retry", url.Values{"id": {id(1)}})
	assert.Contains(t, section(t, a.get(""), "topics"), "parcels")

	for n := range 2 * fewTopics {
		a.store.Add(100+n, fmt.Sprintf("topic-%02d", n))
	}
	a.page.topics.forget()
	few := section(t, a.get("?state=dead"), "topics")
	assert.Contains(t, few, "Largest topics")
	assert.Equal(t, fewTopics, strings.Count(few, `<tr role="row">`)-1)
	assert.Contains(t, few, `href="./?state=dead&amp;topics=all"`)
	assert.Contains(t, a.get("?payloads=show"), `href="./?payloads=show&amp;topics=all"`)
	assert.Contains(t, a.get("?payloads=show&topics=all"), `href="./?topics=all" id="payloads"`)
	assert.Contains(t, a.get("?topics=all"), `href="./?payloads=show&amp;topics=all" id="payloads"`)
	all := section(t, a.get("?state=dead&topics=all"), "topics")
	assert.Equal(t, 2*fewTopics+3, strings.Count(all, `<tr role="row">`)-1)
	assert.NotContains(t, all, "All topics")
}

// slowTopics is an outbox that counts topics until the context ends.
type slowTopics struct{ *memory.Store }

func (slowTopics) CountTopics(ctx context.Context, _ int) ([]outbox.TopicCount, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Counting has a timeout, and the error is cached.
func TestSlowTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: "http://postoffice.test", Outbox: slowTopics{memory.New()}, Logger: quiet})
		require.NoError(t, err)
		p, err := newPage(client, Options{Authorize: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		p.health.ask = func(context.Context) error { return nil }
		for i, want := range []time.Duration{countTimeout, 0, countTimeout} {
			if i == 2 {
				time.Sleep(errorKept + time.Second)
			}
			w := httptest.NewRecorder()
			began := time.Now()
			p.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultPath, nil))
			assert.Equal(t, want, time.Since(began))
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Contains(t, w.Body.String(), "The topics cannot be counted: <bdi>counting took longer than 5s")
		}
		require.NoError(t, client.Stop(t.Context()))
	})
}

// largeOutbox is an outbox that takes long to count its messages.
type largeOutbox struct {
	*memory.Store
	counted atomic.Int64
}

func (l *largeOutbox) Stats(ctx context.Context) (outbox.Stats, error) {
	l.counted.Add(1)
	time.Sleep(time.Second)
	return l.Store.Stats(ctx)
}

// Pages follow what changes: in a large outbox their viewers share the counts, which
// are kept for a while, but not after a change by one of them.
func TestViewersShareCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &largeOutbox{Store: memory.New()}
		require.NoError(t, store.Insert(t.Context(), 0, pagetest.Record(1), pagetest.Record(2)))
		p, err := newPage(newClientOf(t, store), Options{Authorize: func(*http.Request) bool { return true }})
		require.NoError(t, err)
		p.health.ask = func(context.Context) error { return nil }
		waiting := func(want string) {
			w := httptest.NewRecorder()
			p.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, DefaultPath, nil))
			assert.Contains(t, w.Body.String(), `id="count-waiting">`+want+`<`)
		}
		for range 2 {
			for range 3 {
				waiting("2")
			}
			time.Sleep(10 * time.Second)
		}
		assert.EqualValues(t, 1, store.counted.Load())
		form := url.Values{"id": {id(1)}, "confirmed": {"yes"}}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, DefaultPath+"discard", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		p.handler().ServeHTTP(httptest.NewRecorder(), r)
		waiting("1")
		require.NoError(t, store.Insert(t.Context(), 0, pagetest.Record(3)))
		waiting("1")
		time.Sleep(time.Minute)
		waiting("2")
		assert.EqualValues(t, 3, store.counted.Load())
	})
}

// newClientOf is a client with an outbox, which is stopped with the test.
func newClientOf(t *testing.T, store outbox.Store) *core.Client {
	t.Helper()
	client, err := core.NewClient(core.Config{URL: "http://postoffice.test", Outbox: store, Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
	return client
}

// A store that does not count by topic has no list of topics.
func TestNoTopics(t *testing.T) {
	a := start(t, func(c *core.Config, _ *Options) { c.Outbox = struct{ outbox.Store }{c.Outbox} })
	a.store.Add(1, "orders")
	assert.NotContains(t, a.get(""), `id="topics"`)
}

// Without JavaScript a list refreshes itself on request. Links and forms keep the
// setting.
func TestRefresh(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	page := a.get("?topic=orders")
	assert.NotContains(t, page, "http-equiv")
	assert.Contains(t, page, `<a href="./?refresh=on&amp;topic=orders" id="refresh">Refresh every 10 seconds</a>`)
	page = a.get("?topic=orders&refresh=on&note=none")
	assert.Contains(t, page, `<noscript><meta http-equiv="refresh" content="10; url=./?refresh=on&amp;topic=orders"></noscript>`)
	assert.Contains(t, page, `<a href="./?topic=orders" id="refresh">Pause`)
	assert.Contains(t, page, `<a href="./?refresh=on" id="clear">`)
	assert.Contains(t, page, `<input type="hidden" name="refresh" value="on">`)
	assert.Contains(t, a.post("retry?topic=orders&refresh=on", url.Values{"id": {id(1)}}), "refresh=on")
	assert.NotContains(t, a.get("message?refresh=on&id="+id(1)), "http-equiv", "the page of a message does not refresh")
	assert.NotContains(t, a.get("?refresh=1"), "http-equiv")
}

func TestTimeZone(t *testing.T) {
	zone := time.FixedZone("NPT", 5*3600+45*60)
	a := start(t, func(c *core.Config, o *Options) {
		o.TimeZone, c.OriginHost, c.Topics = zone, "http://127.0.0.1:9", []string{"orders"}
	})
	_, err := a.client.Setup(t.Context())
	require.NoError(t, err)
	_, err = a.client.Publish(t.Context(), "orders", map[string]any{})
	require.NoError(t, err)
	a.store.AddStates()
	for _, address := range []string{"", "message?id=" + id(2)} {
		page := html.UnescapeString(a.get(address))
		times := regexp.MustCompile(`(?:datetime|data-minute)="([^"]*)"`).FindAllStringSubmatch(page, -1)
		assert.Greater(t, len(times), 3, address)
		for _, one := range times {
			assert.Regexp(t, `\+05:45$`, one[1], address)
		}
		for _, title := range regexp.MustCompile(`<time[^>]*title="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			assert.Regexp(t, ` NPT$`, title[1], address)
		}
	}
	assert.Regexp(t, `As of <time [^>]*>\d\d:\d\d:\d\d NPT</time>`, a.get(""))
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, topic, head, rest string }{
		{"", "orders", "", ""},
		{`server answered 503 for topic "orders"`, "orders", "server answered 503", ""},
		{`postoffice: server answered 503 for topic "orders": Service Unavailable`, "orders", "server answered 503: Service Unavailable", ""},
		{`server answered 503 for topic "bills"`, "orders", `server answered 503 for topic "bills"`, ""},
		{`no answer from http://postoffice:4000 for topic "a\"b": dial tcp 10.0.0.7:4000: connect: connection refused`, `a"b`, "no answer from http://postoffice:4000:", "dial tcp 10.0.0.7:4000: connect: connection refused"},
		{strings.Repeat("é", maxHead), "orders", strings.Repeat("é", maxHead), ""},
		{strings.Repeat("é", maxHead) + "f", "orders", strings.Repeat("é", maxHead), "f"},
		{"panic of a type: " + strings.Repeat("word ", 10) + "end", "orders", "panic of a type:", strings.Repeat("word ", 10) + "end"},
		{"a: " + strings.Repeat("word ", 10) + "end", "orders", "a: " + strings.TrimSpace(strings.Repeat("word ", 8)), "word word end"},
		{strings.Repeat("x", 50) + "\u202e", "orders", strings.Repeat("x", maxHead), strings.Repeat("x", 50-maxHead) + `\u202e`},
	} {
		assert.Equal(t, errorText{c.head, c.rest}, errorOf(c.text, c.topic), c.text)
	}
	a := start(t)
	long := strings.Repeat("something is wrong with it; ", 20)
	a.store.Add(1, "orders", pagetest.Dead, func(r *outbox.Record) { r.LastError = "server answered 400 for topic \"orders\": " + long })
	assert.Contains(t, a.get(""), "<details><summary><bdi>server answered 400:</bdi></summary><bdi>something is wrong with it;")
	assert.Contains(t, a.get("message?id="+id(1)), "<bdi>server answered 400: something")
}

// The same buttons are above and below the rows.
func TestActionsTwice(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	page := a.get("?topic=orders")
	above, below, found := strings.Cut(section(t, page, "messages"), "<table")
	require.True(t, found)
	_, below, found = strings.Cut(below, "</table>")
	require.True(t, found)
	for _, part := range []string{above, below} {
		for _, action := range []string{">Retry selected<", ">Discard selected…<", ">Select all on this page<", ">Retry all <bdi>messages of “orders”<", ">Discard all <bdi>messages of “orders”<"} {
			assert.Equal(t, 1, strings.Count(part, action), action)
		}
	}
}
