package devpage_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// allPages are the addresses of the pages of a server that has a message.
var allPages = []string{"/", "/dev/topics", "/dev/consumers", "/dev/consumers/1", "/dev/messages", "/dev/messages/1", "/dev/attempts", "/dev/break", "/dev/nothing"}

// busy starts a server with something in each list.
func busy(t *testing.T) (s *running, good, bad *pagetest.Consumer) {
	t.Helper()
	s = start(t)
	good, bad = pagetest.NewConsumer(t, 200), pagetest.NewConsumer(t, 503)
	s.addTopic("orders", good.URL+"/postoffice/orders", bad.URL+"/hooks/billing")
	s.accept(wire.TopicsPath, fmt.Sprintf(`{"name":"parcels.shipped","origin_host":%q,"recovery_enabled":true}`, bad.URL+"/postoffice/messages/"))
	s.accept(wire.ConsumersPath, `{"topic":"parcels.shipped","target":"projects/shop/topics/parcels","type":"pubsub","active":true}`)
	s.addTopic("audit")
	s.addTopicNamed(strings.ReplaceAll(pagetest.Hostile, `"`, `\"`) + strings.Repeat("x", 150))
	for i := range 3 {
		s.publish("orders", fmt.Sprintf(`{"_postoffice":{"message_id":"0190163d-8694-739b-aea5-966c26f8ad91"},"order":%d,"customer":{"name":"Ada","city":"Málaga"},"long":%q}`, 1000+i, strings.Repeat("long", 50)))
	}
	s.publish("parcels.shipped", `{"parcel":"PX-1"}`)
	s.publish("audit", `{"who":"ada"}`)
	s.post("/dev/rescue", url.Values{})
	eventually(t, func() bool {
		body := s.get("/")
		return strings.Contains(body, "3 delivered") && strings.Contains(body, "3 waiting") && strings.Contains(body, "GET: status 503")
	}, "something is in each list")
	return s, good, bad
}

// live waits until a page receives events.
func live(p *testbrowser.Page) { p.See("#freshness", "Live.") }

func TestFollows(t *testing.T) {
	s := start(t)
	consumer := pagetest.NewConsumer(t, 503)
	p := testbrowser.Open(t, s.url)
	live(p)
	testbrowser.Eval[string](p, `window.mark = "not reloaded"`)
	p.See("#topics", "No topics yet")
	s.addTopic("orders", consumer.URL)
	p.See("#topic-1", "orders")
	p.See("#consumer-1", consumer.URL)
	p.Until(`document.querySelector("#topic").value === "orders"`)

	// An update keeps typed text and the focus.
	p.Type("#payload", `{"typed": tr`)
	s.publish("orders", `{"order":17}`)
	p.See("#message-1", `{"order":17}`)
	p.See("#message-1", "waiting for retry")
	p.See("#attempt-1", "503 Service Unavailable")
	p.Keys("ue}")
	assert.Equal(t, `{"typed": true}`, testbrowser.Eval[string](p, `document.querySelector("#payload").value`))

	consumer.Status.Store(200)
	s.post("/dev/jobs/1/retry", url.Values{})
	p.See("#attempt-2", "200 OK")
	p.See("#message-1", "delivered")
	p.Gone("#retry-1")
	assert.Equal(t, "not reloaded", testbrowser.Eval[string](p, "window.mark"))
	p.Until(`[...document.querySelectorAll("#attempts tbody tr")].map((row) => row.id).join() === "attempt-2,attempt-1"`)
}

// An update keeps the selected topic and does not replace rows that have not changed.
func TestLeavesAlone(t *testing.T) {
	s := start(t)
	s.addTopic("orders", "http://127.0.0.1:9/")
	s.addTopic("bills")
	p := testbrowser.Open(t, s.url)
	live(p)
	p.Choose("#topic", "bills")
	testbrowser.Eval[int](p, `document.querySelector("#consumer-1").mark = 1`)
	testbrowser.Eval[int](p, `document.querySelector("#topic-2").mark = 1`)
	s.addTopic("parcels")
	p.See("#topic-3", "parcels")
	p.Until(`document.querySelectorAll("#topic option").length === 3`)
	assert.Equal(t, "bills", testbrowser.Eval[string](p, `document.querySelector("#topic").value`))
	assert.Equal(t, 1, testbrowser.Eval[int](p, `document.querySelector("#consumer-1").mark ?? 0`))
	assert.Equal(t, 1, testbrowser.Eval[int](p, `document.querySelector("#topic-2").mark ?? 0`))
}

// The focus stays on the button of a row when rows are inserted before it.
func TestKeepsFocus(t *testing.T) {
	s, _, _ := busy(t)
	p := testbrowser.Open(t, s.url)
	live(p)
	button := testbrowser.Eval[string](p, `document.querySelector("#attempts button").id`)
	testbrowser.Eval[struct{}](p, fmt.Sprintf("document.getElementById(%q).focus()", button))
	s.publish("orders", `{"newest":true}`)
	p.See("#attempts", "message-id 9")
	assert.Equal(t, button, testbrowser.Eval[string](p, "document.activeElement.id"))
}

func TestPublishes(t *testing.T) {
	s := start(t)
	consumer := pagetest.NewConsumer(t, 200)
	s.addTopic("orders", consumer.URL)
	p := testbrowser.Open(t, s.url)
	live(p)
	p.Tolerate("422") // the browser reports each error response
	p.Type("#payload", `{"order": `)
	p.Press("#publish-button")
	p.See("#payload-error", "must be a JSON object")
	p.Until(`document.activeElement.id === "payload"`) // the invalid field has the focus
	assert.Equal(t, `{"order": `, testbrowser.Eval[string](p, `document.querySelector("#payload").value`))
	p.Type("#payload", `{"order": 17}`)
	p.Type("#attributes", `{"kind": "new"}`)
	p.Press("#publish-button")
	p.See("[role=status]", "Published: 1 delivery.")
	p.See("#message-1", "delivered")
	assert.JSONEq(t, `{"order":17,"attributes":{"kind":"new"}}`, consumer.Received()[0].Body)
	p.Press("#message-1 a")
	p.See("h1", "Message 1")
	p.See("pre", `"order": 17`)
}

// Metadata in the payload is shown separately, in the list and on the page of the
// message, which also links to the raw payload.
func TestShowsMetadata(t *testing.T) {
	s := start(t)
	s.addTopic("orders", pagetest.NewConsumer(t, 200).URL)
	const payload = `{"_postoffice":{"message_id":"m-7","traceparent":"00-1-2-01"},"order":17}`
	s.publish("orders", payload)
	s.publish("orders", `{"_postoffice":["foreign"],"order":18}`)
	p := testbrowser.Open(t, s.url)
	p.See("#message-1", `{"order":17}`)
	p.See("#message-2", `{"_postoffice":["foreign"],"order":18}`)
	p.Press("#message-1 a")
	p.See("h1", "Message 1")
	texts := func() []string {
		return testbrowser.Eval[[]string](p, `[...document.querySelectorAll("section:has(pre)")].map((e) => e.querySelector("h2").innerText + " " + e.querySelector("pre").innerText.replace(/\s+/g, ""))`)
	}
	assert.Equal(t, []string{
		`Payload {"order":17}`, `Metadata {"message_id":"m-7","traceparent":"00-1-2-01"}`, `Attributes {"kind":"new"}`,
	}, texts())
	p.See("[aria-labelledby=payload-title]", fmt.Sprintf("%d bytes including the metadata", len(payload)))
	p.Picture("devserver-metadata")
	assert.Equal(t, payload, s.get("/dev/messages/1/payload"))
	p.Go(s.url + "/dev/messages/2")
	assert.Equal(t, []string{`Payload {"_postoffice":["foreign"],"order":18}`, `Attributes {"kind":"new"}`}, texts())
}

func TestRetriesAndPauses(t *testing.T) {
	s := start(t)
	consumer := pagetest.NewConsumer(t, 500)
	s.addTopic("orders", consumer.URL)
	s.publish("orders", `{}`)
	p := testbrowser.Open(t, s.url)
	p.See("#attempt-1", "500 Internal Server Error")
	consumer.Status.Store(200)
	p.Press("#retry-1")
	p.See("[role=status]", "Retrying 1 delivery now.")
	p.See("#attempt-2", "200 OK")

	p.Press("#pause-1")
	p.See("[role=status]", "The consumer is paused.")
	p.See("#consumer-1", "paused")
	s.publish("orders", `{}`)
	p.See("#message-2", "paused")
	p.See("#consumer-1", "1 waiting")
	p.Press("#resume-1")
	p.See("#consumer-1", "active")
	p.Press("#retry-all-1")
	p.See("#attempt-3", "200 OK")
	p.See("#message-2", "delivered")
}

func TestBreaksAndMends(t *testing.T) {
	s := start(t)
	p := testbrowser.Open(t, s.url+"/dev/break")
	live(p)
	watching := testbrowser.Open(t, s.url)
	live(watching)
	p.Choose("#status", "429")
	p.Type("#retry", "9")
	p.Press("#break-status")
	p.See("#trouble", "429 Too Many Requests and Retry-After: 9")
	watching.See("#trouble", "429 Too Many Requests")
	assert.Equal(t, 429, s.do(http.MethodGet, wire.HealthPath, "", "").status)
	p.Press("#mend")
	p.See("[role=status]", "The server works again.")
	p.Gone("#mend")
	watching.Gone("#mend")
	assert.Equal(t, 200, s.do(http.MethodGet, wire.HealthPath, "", "").status)
}

// The page reports that connections are refused, and reloads by itself afterwards.
func TestSeesTheServerAway(t *testing.T) {
	s := start(t)
	watching := testbrowser.Open(t, s.url)
	live(watching)
	p := testbrowser.Open(t, s.url+"/dev/break")
	live(p)
	for _, page := range []*testbrowser.Page{p, watching} {
		page.Tolerate("ERR_CONNECTION_REFUSED")
		page.Tolerate("ERR_CONNECTION_RESET")
		page.Tolerate("ERR_INCOMPLETE_CHUNKED_ENCODING")
	}
	p.Type("#refuse", "2")
	p.Press("#break-refuse")
	p.See("h1", "Connections are refused")
	watching.See("#freshness", "The server cannot be reached.")
	p.See("h1", "Break the server")
	live(watching)
	s.addTopic("orders")
	watching.See("#topic-1", "orders")
}

func TestWithoutJavaScript(t *testing.T) {
	s := start(t)
	consumer := pagetest.NewConsumer(t, 503)
	s.addTopic("orders", consumer.URL)
	p := testbrowser.New(t)
	p.WithoutJavaScript()
	p.Go(s.url)
	p.See("#freshness", "Reload to see changes")
	p.Type("#payload", `{"order": 17}`)
	p.Press("#publish-button")
	p.See("[role=status]", "Published")
	eventually(t, func() bool { return len(consumer.Received()) == 1 }, "it is delivered")
	eventually(t, func() bool { return strings.Contains(s.get("/"), "retry-1") }, "the attempt has ended")
	p.Press("#freshness a")
	p.See("#attempt-1", "503 Service Unavailable")
	consumer.Status.Store(200)
	p.Press("#retry-1")
	p.See("[role=status]", "Retrying")
	eventually(t, func() bool { return strings.Contains(s.get("/"), "1 delivered") }, "it is delivered")
	p.Reload()
	p.See("#message-1", "delivered")
	p.Press("#pause-1")
	p.See("#consumer-1", "paused")
	p.Press("#resume-1")
	p.See("#consumer-1", "active")
	p.Go(s.url + "/dev/break")
	p.Press("#break-reset")
	p.See("#trouble", "resets every connection")
	p.Press("#mend")
	p.See("[role=status]", "works again")
	// The page also reloads by itself without JavaScript.
	p.Tolerate("ERR_CONNECTION_REFUSED")
	p.Type("#refuse", "1")
	p.Press("#break-refuse")
	p.See("h1", "Connections are refused")
	p.See("h1", "Break the server")
}

// Another site, on another port of this machine, sends a form and a script's request to
// the API; both are refused.
func TestOfAnotherSite(t *testing.T) {
	s := start(t)
	html := fmt.Sprintf(`<!doctype html><title>evil</title>
<form method="post" action="%[1]s/api/topics"><input name="name" value="stolen"><input name="origin_host" value="%[1]s/x/"><button id="send">Send</button></form>
<script>fetch("%[1]s/api/topics", {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body: "{}"}).finally(() => { document.title = "sent" })</script>`, s.url)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, html)
	}))
	t.Cleanup(evil.Close)
	p := testbrowser.New(t)
	for _, complaint := range []string{"403", "favicon"} {
		p.Tolerate(complaint) // the browser reports each error response
	}
	p.Go(evil.URL)
	p.Until(`document.title === "sent"`)
	p.Press("#send")
	p.See("body", "This request came from another site")
	assert.Contains(t, s.get("/"), "No topics yet")

	// Links from other sites to the page work.
	html = fmt.Sprintf(`<!doctype html><title>docs</title><a id="link" href="%s">The development server</a>`, s.url)
	p.Go(evil.URL)
	p.Press("#link")
	live(p)
}

// All actions work with the keyboard, and the focus is visible.
func TestByKeyboard(t *testing.T) {
	s := start(t)
	consumer := pagetest.NewConsumer(t, 503)
	s.addTopic("orders", consumer.URL)
	p := testbrowser.Open(t, s.url)
	live(p)
	p.Tab(".skip", 1)
	assert.GreaterOrEqual(t, testbrowser.Eval[float64](p, "document.activeElement.getBoundingClientRect().left"), 0.0, "the link is visible when it has the focus")
	p.Keys(kb.Enter)
	p.Until(`document.activeElement.id === "main"`)
	p.Tab("#payload", 20)
	testbrowser.Eval[struct{}](p, "document.activeElement.select()")
	p.Keys(`{"order": 17}`)
	p.Tab("#publish-button", 3)
	outline := testbrowser.Eval[string](p, "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth")
	assert.Equal(t, "solid3px", outline)
	p.Keys(kb.Enter)
	p.See("[role=status]", "Published")
	p.See("#attempt-1", "503")
	consumer.Status.Store(200)
	p.Tab("#retry-1", 40)
	p.Keys(" ")
	p.See("#attempt-2", "200 OK")
	p.Tab("#pause-1", 40)
	p.Keys(kb.Enter)
	p.See("#consumer-1", "paused")
	p.Tab("nav a[href='/dev/break']", 40)
	p.Keys(kb.Enter)
	p.See("h1", "Break the server")
	p.Tab("#break-status", 40)
	p.Keys(kb.Enter)
	p.See("#trouble", "503")
	p.Tab("#mend", 40)
	p.Keys(kb.Enter)
	p.Gone("#mend")
}

func TestNarrow(t *testing.T) {
	s, _, _ := busy(t)
	s.post("/dev/break", url.Values{"how": {"status"}, "status": {"429"}, "retry": {"300"}, "times": {"1000000"}})
	p := testbrowser.New(t)
	p.Tolerate("404")
	for _, path := range allPages {
		p.Size(1280, 800)
		p.Go(s.url + path)
		assert.False(t, p.Overflows(), "%s at 1280 pixels", path)
		for _, width := range []int64{320, 360, 400, 600, 700, 800, 896, 897, 1151, 1152} {
			p.Size(width, 740)
			p.CheckFits(fmt.Sprintf("%s at %d pixels", path, width))
		}
	}
	p.Go(s.url)
	p.Size(360, 740)
	p.Picture("devserver-phone")
	p.Go(s.url + "/dev/break")
	p.Picture("devserver-break-phone")
}

func TestContrast(t *testing.T) {
	s, _, _ := busy(t)
	s.post("/dev/break", url.Values{"how": {"unwell"}})
	s.post("/dev/consumers/1/pause", url.Values{})
	p := testbrowser.New(t)
	p.Tolerate("404")
	grounds := make(map[string]bool)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		for _, path := range append(allPages, "/?note=retried&count=2", "/?note=is-paused") {
			p.Go(s.url + path)
			grounds[p.CheckContrasts(fmt.Sprintf("%s, dark %t", path, dark), 10)] = true
		}
		p.Go(s.url)
		live(p)
		p.Picture("devserver-" + map[bool]string{false: "light", true: "dark"}[dark])
	}
	assert.Len(t, grounds, 2, "dark differs from light")
	p.Dark(false)
	for name, path := range map[string]string{"break": "/dev/break", "message": "/dev/messages/1"} {
		p.Go(s.url + path)
		live(p)
		p.Picture("devserver-" + name)
	}
}

// Every control has a name, and every page has its landmarks and one main heading.
func TestStructure(t *testing.T) {
	s, _, _ := busy(t)
	p := testbrowser.New(t)
	p.Tolerate("404")
	for _, path := range allPages {
		p.Go(s.url + path)
		p.CheckStructure(path, map[string]int{"nav[aria-label=Pages]": 1})
	}
}

// Hostile texts have no effect, neither in a loaded page nor in an update.
func TestHostileTexts(t *testing.T) {
	s := start(t)
	p := testbrowser.Open(t, s.url)
	live(p)
	quoted := strings.ReplaceAll(pagetest.Hostile, `"`, `\"`)
	s.addTopicNamed(quoted)
	s.accept(wire.ConsumersPath, `{"topic":"`+quoted+`","target":"http://127.0.0.1:9/`+quoted+`","type":"http","active":true}`)
	s.accept(wire.MessagePath, `{"topic":"`+quoted+`","payload":{"k":"`+quoted+`"},"attributes":{"a":"`+quoted+`"}}`)
	p.See("#message-1", "<script>")
	p.See("#attempt-1", "<script>")
	p.CheckInert("followed")
	for _, path := range []string{"/", "/dev/topics", "/dev/consumers", "/dev/messages", "/dev/messages/1", "/dev/attempts", "/dev/messages?topic=" + url.QueryEscape(pagetest.Hostile)} {
		p.Go(s.url + path)
		live(p)
		p.CheckInert(path)
	}
	// The page can publish to a topic with any name.
	p.Go(s.url)
	p.Press("#publish-button")
	p.See("[role=status]", "Published: 1 delivery.")
	// The raw payload is not HTML.
	p.Go(s.url + "/dev/messages/1/payload")
	assert.NotContains(t, testbrowser.Eval[string](p, "document.title"), "owned")
	assert.Zero(t, testbrowser.Eval[int](p, `document.querySelectorAll("img, main script").length`))
	assert.Equal(t, "text/plain", testbrowser.Eval[string](p, "document.contentType"))
}

// The pages work with ten thousand messages and are as small as with a hundred.
func TestManyMessages(t *testing.T) {
	s := start(t)
	s.addTopic("orders", "http://127.0.0.1:9/")
	s.post("/dev/consumers/1/pause", url.Values{})
	item := `{"order":"` + strings.Repeat("x", 200) + `"},`
	for range 5 {
		body := `{"topic":"orders","attributes":{},"payload":[` + strings.TrimSuffix(strings.Repeat(item, 2000), ",") + `]}`
		s.accept(wire.BulkPath, body)
	}
	p := testbrowser.Open(t, s.url)
	p.See("#message-10000", "orders")
	p.Press("#messages .head a")
	p.See("h1", "Messages")
	p.Until(`document.querySelectorAll("tbody tr").length === 50`)
	p.Press("[rel=next]")
	p.See("#message-9950", "orders")
	p.Go(s.url + "/dev/messages?before=11")
	p.See("#message-10", "paused")
	assert.Less(t, len(s.get("/dev/messages")), 60_000)
	p.Go(s.url)
	live(p)
	p.See("#topics", "10,000")
	p.Picture("devserver-many")
	assert.Equal(t, http.StatusOK, s.do(http.MethodGet, "/dev/messages/1", "", "").status)
}

// The search finds messages and attempts, with the keyboard and without JavaScript, and
// its result updates itself.
func TestSearches(t *testing.T) {
	s, _, bad := busy(t)
	p := testbrowser.Open(t, s.url+"/dev/messages")
	live(p)
	p.Tab("#q", 20)
	p.Keys("1001")
	p.Keys(kb.Enter)
	p.Until(`document.querySelectorAll("tbody tr").length === 1`)
	live(p)
	s.publish("orders", `{"order":1001,"again":true}`)
	s.publish("orders", `{"order":1003}`)
	p.Until(`document.querySelectorAll("tbody tr").length === 2`)
	p.See("tbody", "again")
	p.Choose("#state", "discarded")
	p.Type("#q", "")
	p.Press("#find")
	p.See("tbody", "ada")
	p.Until(`document.querySelectorAll("tbody tr").length === 1`)
	p.Press("#clear")
	p.Until(`document.querySelectorAll("tbody tr").length === 7`)

	bad.Close()
	p.WithoutJavaScript()
	s.post("/dev/jobs/2/retry", url.Values{})
	eventually(t, func() bool { return strings.Contains(s.get("/dev/attempts?message=1"), ">refused<") }, "the connection is refused")
	p.Go(s.url + "/dev/attempts")
	p.Type("#q", "refused")
	p.Press("#find")
	p.See("#clear", "Clear")
	p.See("tbody .answer", "connect: connection refused")
	p.Choose("#state", "delivered")
	p.Press("#find")
	p.See("#attempts", "No attempt matches.")
}

// The screenshots of the README: an app whose billing service is down.
func TestReadme(t *testing.T) {
	s := start(t)
	shop, billing := pagetest.NewConsumer(t, 200), pagetest.NewConsumer(t, 503)
	s.addTopic("orders", shop.URL+"/orders", billing.URL+"/invoices")
	for i, name := range []string{"Ada", "Grace", "Edsger"} {
		s.publish("orders", fmt.Sprintf(`{"order":%d,"customer":{"name":%q},"total":"%d.90"}`, 1000+i, name, 17+i))
		eventually(t, func() bool { return strings.Count(s.get("/dev/attempts"), `id="attempt-`) == 2*i+2 }, "it is tried")
	}
	billing.Close()
	refused := func() bool {
		s.post("/dev/jobs/2/retry", url.Values{})
		return strings.Contains(s.get("/"), ">refused<")
	}
	eventually(t, refused, "the connection is refused")
	p := testbrowser.New(t)
	p.Size(1200, 1180)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		p.Go(s.url)
		live(p)
		p.See("#attempts", "refused")
		p.PictureOfView("devserver-readme-" + map[bool]string{false: "light", true: "dark"}[dark])
	}
	p.Dark(false)
	for name, path := range map[string]string{"messages": "/dev/messages?state=retrying", "attempts": "/dev/attempts", "history": "/dev/messages/1"} {
		p.Go(s.url + path)
		live(p)
		p.Picture("devserver-" + name)
	}
	p.Size(360, 740)
	p.Go(s.url + "/dev/attempts")
	assert.False(t, p.Overflows())
	p.Picture("devserver-attempts-phone")
}
