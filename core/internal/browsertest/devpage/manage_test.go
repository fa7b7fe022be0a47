package devpage_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/browsertest/testbrowser"
	"github.com/postoffice-go/postoffice/core/internal/pagetest"
)

// A user creates a topic and a consumer, and corrects invalid fields.
func TestManages(t *testing.T) {
	s := start(t)
	before, after := pagetest.NewConsumer(t, 503), pagetest.NewConsumer(t, 200)
	p := testbrowser.Open(t, s.url)
	p.Tolerate("422") // the browser reports each error response
	p.Press("#new-topic")
	p.See("h1", "Topics")
	p.Type("#name", "orders")
	p.Type("#origin_host", "http://127.0.0.1:9/o/")
	p.Press("#recovery")
	p.Press("#create-button")
	p.See("[role=status]", "The topic is created.")
	p.See("#topic-1", "recovery")
	p.Type("#name", "orders")
	p.Type("#origin_host", "h/")
	p.Press("#create-button")
	p.See("#name-error", "A topic with this name already exists.")
	p.Until(`document.activeElement.id === "name"`) // the invalid field has the focus
	p.Picture("devserver-topic-error")

	p.Go(s.url)
	p.Press("#new-consumer")
	p.See("h1", "Consumers")
	p.Type("#target", before.URL)
	p.Type("#timeout", "x")
	p.Press("#create-button")
	p.See("#timeout-error", "Enter a whole number of seconds")
	p.Until(`document.activeElement.id === "timeout"`)
	assert.Equal(t, before.URL, testbrowser.Eval[string](p, `document.querySelector("#target").value`))
	assert.True(t, testbrowser.Eval[bool](p, `document.querySelector("#active").checked`))
	p.Type("#timeout", "3")
	p.Press("#create-button")
	p.See("[role=status]", "The consumer is created.")
	p.See("#consumer-1", "times out after 3 seconds")

	s.publish("orders", `{"n":1}`)
	p.See("#consumer-1", "1 waiting")
	p.Press("#edit-1")
	p.See("h1", "Consumer 1")
	p.Type("#target", after.URL)
	p.Press("#save")
	p.See("[role=status]", "The consumer is changed.")
	p.See("#consumer-1", after.URL)
	s.publish("orders", `{"n":2}`)
	p.See("#consumer-1", "1 delivered")
	p.Go(s.url + "/dev/messages/1")
	live(p)
	p.Press("#cancel-job-1")
	p.See("[role=status]", "The delivery is cancelled.")
	p.See("#job-1", "cancelled")
	p.Gone("#cancel-job-1")

	p.Go(s.url + "/dev/consumers/1")
	p.Tolerate("404") // the page may update itself between the deletion and the redirect
	p.Press("#delete")
	p.See("[role=status]", "The consumer is deleted.")
	p.See("#consumer-1", "deleted")
	p.Gone("#edit-1")
}

// The forms work with the keyboard only, and without JavaScript.
func TestManagesByKeyboard(t *testing.T) {
	s := start(t)
	p := testbrowser.New(t)
	p.WithoutJavaScript()
	p.Go(s.url + "/dev/topics")
	p.Tab("#name", 30)
	p.Keys("orders")
	p.Tab("#origin_host", 1)
	p.Keys("h/")
	p.Tab("#recovery", 1)
	p.Keys(" ")
	p.Tab("#create-button", 1)
	p.Keys(kb.Enter)
	p.See("#topic-1", "recovery")

	p.Go(s.url + "/dev/consumers")
	p.Tab("#target", 30)
	p.Keys("http://127.0.0.1:9/")
	p.Tab("#active", 3)
	p.Keys(" ")
	p.Tab("#create-button", 1)
	p.Keys(kb.Enter)
	p.See("#consumer-1", "paused")
	p.Tab("#edit-1", 30)
	p.Keys(kb.Enter)
	p.See("h1", "Consumer 1")
	p.Tab("#active", 30)
	p.Keys(" ")
	p.Keys(kb.Enter) // sends the form
	p.See("#consumer-1", "active")
	p.Go(s.url + "/dev/consumers/1")
	p.Tab("#delete", 30)
	p.Keys(kb.Enter)
	p.See("#consumer-1", "deleted")
}

// Pages with invalid fields keep their layout and contrast.
func TestShowsWrongFields(t *testing.T) {
	s, _, _ := busy(t)
	for path, fields := range map[string][]string{"/dev/topics": {"name", "origin_host"}, "/dev/consumers": {"target", "timeout"}, "/dev/consumers/1": {"target", "timeout"}} {
		p := testbrowser.New(t)
		p.Tolerate("422")
		p.Go(s.url + path)
		for _, field := range fields {
			p.Type("#"+field, " ")
		}
		p.Press("button.main")
		for _, field := range fields {
			p.See("#"+field+"-error", "")
		}
		for _, dark := range []bool{false, true} {
			p.Dark(dark)
			p.CheckContrasts(fmt.Sprintf("%s, dark %t", path, dark), 0)
		}
		for _, width := range []int64{320, 360, 1280} {
			p.Size(width, 740)
			p.CheckFits(fmt.Sprintf("%s at %d pixels", path, width))
		}
		p.CheckStructure(path, map[string]int{"nav[aria-label=Pages]": 1})
		p.Size(360, 740)
		p.Picture("devserver-wrong-" + url.PathEscape(path))
	}
}
