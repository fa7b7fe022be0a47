package outboxpage_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outboxpage"
)

// tick is the selector of a message's checkbox.
func tick(n int) string { return fmt.Sprintf("input[value='%s']", id(n)) }

// busy starts an app whose outbox has messages of all kinds.
func busy(t *testing.T) *app {
	t.Helper()
	a := start(t, func(c *core.Config, _ *outboxpage.Options) {
		c.OriginHost, c.Topics = "http://127.0.0.1:9", []string{"orders", "parcels.shipped"}
		c.Consumers = []core.Consumer{{Topic: "invoices", Target: "http://billing.internal:8000/postoffice/invoices/"}}
	})
	_, err := a.client.Setup(t.Context())
	require.Error(t, err)
	a.store.AddStates()
	a.store.AddHostile(5)
	a.store.Add(6, "parcels.shipped."+strings.Repeat("long", 15))
	a.store.Add(7, "orders", pagetest.Dead, func(r *outbox.Record) {
		r.LastError = "server answered 400 for topic \"orders\": " + strings.Repeat("something is wrong with it; ", 20)
		r.Payload = json.RawMessage(`{"_postoffice":{"message_id":"0190163d-8694-739b-aea5-966c26f8ad91"},"order":1007,"customer":{"name":"Ada","city":"Málaga"},"text":"` + strings.Repeat("word", 100) + `"}`)
	})
	for n := range pageRows {
		a.store.Add(100+n, "invoices", func(r *outbox.Record) { r.Payload = json.RawMessage(`{"total":"` + strings.Repeat("9", 100) + `"}`) })
	}
	return a
}

// addresses are the pages of a busy app.
var addresses = []string{
	"", "?payloads=show&mark=page", "?state=dead", "?topic=none", "?note=retried&count=2", "?note=none", "?after=" + id(120),
	"message?id=" + id(7), "message?payloads=hide&id=" + id(2), "message?id=" + id(3), "nothing",
}

// Everything works without JavaScript.
func TestWithoutJavaScript(t *testing.T) {
	a := busy(t)
	p := testbrowser.New(t)
	p.WithoutJavaScript()
	p.Go(a.url)
	p.See("#messages", "retrying")
	p.Press("[rel=next]")
	p.See("#first", "Back to the first page")
	p.Press("#first")
	p.Gone("#first")

	p.Type("#topic", "orders")
	p.Choose("#state", "dead")
	p.Press("#filter")
	p.Until(`document.querySelectorAll("#messages tbody tr").length === 2`)
	p.See("#discard-all", "Discard all dead messages of “orders”…")

	p.Press(tick(1))
	p.Press("#retry-chosen")
	p.See("[role=status]", "Retrying 1 message now.")
	p.Until(`document.querySelectorAll("#messages tbody tr").length === 1`)
	assert.Equal(t, outbox.Pending, a.store.Entries()[1].State)

	// Discarding requires a confirmation and can be canceled.
	p.Press(tick(7))
	p.Press("#discard-chosen")
	p.See("h1", "Discard 1 message?")
	p.Press("#cancel")
	p.See("#messages", "server answered 400:")
	assert.Contains(t, a.store.IDs(), id(7))
	p.Press("#discard-all")
	p.See("h1", "Discard 1 dead message of “orders”?")
	p.Press("#confirm")
	p.See("[role=status]", "1 message was discarded.")
	p.See(".empty", "There are no dead messages of “orders”.")
	assert.NotContains(t, a.store.IDs(), id(7))

	p.Press("#clear")
	p.Until(`document.querySelectorAll("#messages tbody tr").length > 40`)
	p.Press("#mark")
	p.Until(`document.querySelectorAll("tbody input:checked").length === 50`)
	p.Press("#discard-chosen")
	p.See("h1", "Discard 50 messages?")
	p.Press("#confirm")
	p.See("[role=status]", "50 messages were discarded.")

	p.Press(".id")
	p.See("#content", `"total"`)
	p.Press("#payloads")
	p.See("#content", "Hidden.")
	p.Press("#discard")
	p.See("h1", "Discard 1 message?")
	p.Press("#confirm")
	p.See("[role=status]", "1 message was discarded.")
	p.Press("#retry-all")
	p.See("[role=status]", "Retrying")
	p.Press("#retry-chosen")
	p.See("[role=status]", "No message was selected.")
}

// Without JavaScript the list can refresh itself until it is paused.
func TestRefreshesWithoutJavaScript(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	p := testbrowser.New(t)
	p.WithoutJavaScript()
	p.Go(a.url + "?topic=orders")
	p.Press("#refresh")
	p.See("#refresh", "Pause")
	a.store.Add(9, "orders")
	p.See("#messages", id(9))
	p.Press("#refresh")
	p.See("#refresh", "Refresh every 10 seconds")
	assert.False(t, testbrowser.Eval[bool](p, `document.querySelector("meta[http-equiv]") !== null`))
}

// hasten shortens the timers of a page's scripts and counts how often they fire.
const hasten = `{ const slow = window.setInterval; window.fired = 0; window.setInterval = (run) => slow(() => { window.fired++; run() }, 50) }`

// With JavaScript the list refreshes itself until it is paused or messages are selected.
// Opened details and the focus are kept.
func TestFollows(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	a.store.Add(7, "orders", pagetest.Dead, func(r *outbox.Record) { r.LastError = "server answered 400: " + strings.Repeat("much text ", 20) })
	p := testbrowser.New(t)
	p.Before(hasten)
	p.Go(a.url)
	p.See("#freshness", "Live.")
	testbrowser.Eval[string](p, `window.mark = "not reloaded"`)
	p.Press("summary")
	p.Until(`document.querySelector("details").open`)
	testbrowser.Eval[struct{}](p, `document.querySelector("#discard-all-below").focus()`)
	a.store.Add(8, "parcels")
	p.See("#messages", id(8))
	p.See("#count-waiting", "3")
	assert.True(t, testbrowser.Eval[bool](p, `document.querySelector("details").open`))
	assert.Equal(t, "discard-all-below", testbrowser.Eval[string](p, "document.activeElement.id"))
	assert.Equal(t, "not reloaded", testbrowser.Eval[string](p, "window.mark"))

	p.Press(tick(8))
	p.See("#freshness", "Paused while messages are selected.")
	n, err := a.client.Outbox().Discard(t.Context(), outbox.Selection{IDs: []string{id(1)}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	p.Until(fmt.Sprintf("window.fired > %d", testbrowser.Eval[int](p, "window.fired")+5))
	assert.True(t, testbrowser.Eval[bool](p, fmt.Sprintf(`document.querySelector("%s") !== null`, tick(1))), "no row moves while messages are selected")
	p.Press(tick(8))
	p.Gone(tick(1))

	p.Press("#pause")
	p.See("#freshness", "Paused.")
	p.Reload()
	p.See("#freshness", "Paused.")
	a.store.Add(9, "parcels")
	p.Press("#pause")
	p.See("#freshness", "Live.")
	p.See("#messages", id(9))
	assert.False(t, p.Overflows())
}

// Times are in the viewer's time zone, also after a refresh.
func TestTimeZone(t *testing.T) {
	a := start(t, func(_ *core.Config, o *outboxpage.Options) { o.TimeZone = time.FixedZone("XYZ", -3600) })
	a.store.AddStates()
	p := testbrowser.New(t)
	p.TimeZone("Asia/Kathmandu")
	p.Before(hasten)
	p.Go(a.url)
	p.See("#freshness", "GMT+5:45")
	foreign := `[...document.querySelectorAll("time")].map((e) => e.title + e.textContent).filter((text) => text.includes("XYZ"))`
	assert.Empty(t, testbrowser.Eval[[]string](p, foreign))
	a.store.Add(8, "parcels")
	p.See("#messages", id(8))
	assert.Empty(t, testbrowser.Eval[[]string](p, foreign))
	p.Go(a.url + "message?id=" + id(2))
	p.See("#facts", "GMT+5:45")
	assert.Empty(t, testbrowser.Eval[[]string](p, foreign))
	p.WithoutJavaScript()
	p.Go(a.url)
	p.See("#freshness", "XYZ")
}

func TestByKeyboard(t *testing.T) {
	a := start(t)
	a.store.AddStates()
	p := testbrowser.Open(t, a.url)
	p.Tab(".skip", 1)
	assert.GreaterOrEqual(t, testbrowser.Eval[float64](p, "document.activeElement.getBoundingClientRect().left"), 0.0, "the link is visible when it has the focus")
	p.Keys(kb.Enter)
	p.Until(`document.activeElement.id === "main"`)
	p.Tab("#topic", 10)
	p.Keys("orders" + kb.Enter)
	p.Until(`document.querySelectorAll("#messages tbody tr").length === 2`)
	p.Tab(tick(1), 20)
	p.Keys(" ")
	p.Until(`document.activeElement.checked`)
	p.Tab("#retry-chosen-below", 20)
	assert.Equal(t, "solid3px", testbrowser.Eval[string](p, "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"))
	p.Keys(kb.Enter)
	p.See("[role=status]", "Retrying 1 message now.")
	p.Tab(tick(2), 20)
	p.Keys(" ")
	p.Tab("#discard-chosen-below", 20)
	p.Keys(" ")
	p.See("h1", "Discard 1 message?")
	p.Tab("#confirm", 10)
	p.Keys(kb.Enter)
	p.See("[role=status]", "1 message was discarded.")
	assert.Equal(t, []string{id(1), id(3), id(4)}, a.store.IDs())
}

func TestNarrow(t *testing.T) {
	a := busy(t)
	p := testbrowser.New(t)
	p.Tolerate("404")
	for _, address := range addresses {
		p.Go(a.url + address)
		for _, width := range []int64{320, 360, 600, 800, 896, 897, 1151, 1152, 1280} {
			p.Size(width, 740)
			p.CheckFits(fmt.Sprintf("%s at %d pixels", address, width))
		}
	}
	p.Size(360, 740)
	p.Go(a.url + "?state=dead")
	p.Picture("outboxpage-phone")
	p.Press(tick(7))
	p.Press("#discard-chosen")
	p.See("h1", "Discard 1 message?")
	p.CheckFits("confirmation")
	p.Picture("outboxpage-confirm-phone")
}

func TestContrast(t *testing.T) {
	a := busy(t)
	p := testbrowser.New(t)
	p.Tolerate("404")
	grounds := make(map[string]bool)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		judge := func(what string) {
			grounds[p.CheckContrasts(fmt.Sprintf("%s, dark %t", what, dark), 5)] = true
		}
		for _, address := range addresses {
			p.Go(a.url + address)
			judge(address)
		}
		p.Go(a.url + "?after=" + id(142))
		p.Press("#discard-all")
		p.See("h1", "Discard all 57 messages?")
		judge("confirmation")
	}
	assert.Len(t, grounds, 2, "dark differs from light")
}

// TestPictures takes screenshots of typical pages.
func TestPictures(t *testing.T) {
	a := start(t, func(c *core.Config, _ *outboxpage.Options) {
		c.OriginHost, c.Topics = "http://127.0.0.1:9", []string{"orders", "parcels.shipped"}
		c.Consumers = []core.Consumer{{Topic: "invoices", Target: "http://billing.internal:8000/postoffice/invoices/"}}
	})
	_, err := a.client.Setup(t.Context())
	require.Error(t, err)
	a.store.AddStates()
	a.store.AddHostile(5)
	a.store.Add(6, "parcels.shipped")
	p := testbrowser.New(t)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		p.Go(a.url)
		p.See("#messages", "retrying")
		p.Picture("outboxpage-" + map[bool]string{false: "light", true: "dark"}[dark])
	}
	p.Dark(false)
	p.Go(a.url + "?payloads=show")
	p.Picture("outboxpage-payloads")
	p.Go(a.url + "message?id=" + id(1))
	p.See("#facts", "dead")
	p.Picture("outboxpage-message")
	p.Press("#discard")
	p.See("h1", "Discard")
	p.Picture("outboxpage-confirm")
	for n := range 1234 {
		a.store.Add(100+n, "invoices")
	}
	p.Go(a.url + "?state=pending&topic=invoices")
	p.Picture("outboxpage-filtered")
	p.Press("#discard-all")
	p.See("h1", "Discard all 1,234 messages to deliver of “invoices”?")
	p.Picture("outboxpage-confirm-all")
}

// Every control has a name, and every page has its landmarks and one main heading.
func TestStructure(t *testing.T) {
	a := busy(t)
	p := testbrowser.New(t)
	p.Tolerate("404")
	for _, address := range addresses {
		p.Go(a.url + address)
		p.CheckStructure(address, map[string]int{"main script": 0})
	}
}

// Hostile texts have no effect, and a message that contains them can be discarded.
func TestHostileTexts(t *testing.T) {
	a := start(t)
	a.store.AddHostile(1)
	p := testbrowser.New(t)
	p.Go(a.url + "?payloads=show")
	p.See("#messages", "<script>")
	p.CheckInert("list")
	p.Press(".topic")
	p.See("#clear", "Clear")
	p.See("#messages", "<script>")
	p.CheckInert("filtered")
	p.Press(".id")
	p.See("pre", "<script>")
	p.CheckInert("message")
	p.Press("#content a[href^=part]")
	p.Until(`document.contentType === "text/plain"`)
	assert.NotContains(t, testbrowser.Eval[string](p, "document.title"), "owned")
	p.Go(a.url)
	p.Press("tbody input")
	p.Press("#discard-chosen")
	p.See(".ids", "<script>")
	p.CheckInert("confirmation")
	p.Press("#confirm")
	p.See("[role=status]", "1 message was discarded.")
	assert.Empty(t, a.store.IDs())
}

// The pages work with a payload of a megabyte and with thousands of messages.
func TestMuch(t *testing.T) {
	a := start(t)
	a.store.Add(1, "orders", func(r *outbox.Record) {
		r.Payload = json.RawMessage(`{"text":"` + strings.Repeat("long", 1<<18) + `"}`)
	})
	const many = 10_000
	for n := 0; n < many; n += 5000 {
		records := make([]outbox.Record, 5000)
		for i := range records {
			records[i] = outbox.Record{ID: id(10 + n + i), Topic: "orders", Payload: json.RawMessage(`{}`), Attributes: json.RawMessage(`{}`)}
		}
		require.NoError(t, a.store.Insert(t.Context(), 0, records...))
	}
	p := testbrowser.Open(t, a.url+"?payloads=show")
	p.See("#count-waiting", "10,001")
	p.See("#topics", "10,001")
	p.Picture("outboxpage-many")
	p.Press(".id")
	p.See("#content", "Only the beginning is shown.")
	assert.False(t, p.Overflows())
	p.Go(a.url + "?after=" + id(many+9-pageRows))
	p.See("#messages", id(many+9))
	assert.False(t, p.Overflows())
}
