package postofficetest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// TestTexts has payloads and bodies printed as text, in lists, too.
func TestTexts(t *testing.T) {
	message := postofficetest.Message{Number: 1, Topic: "orders", Payload: []byte(`{"id":7}`), Attributes: []byte(`{"kind":"new"}`), Via: postofficetest.Single, JobIDs: []int64{3}}
	const text = `message 1 of topic "orders": {"id":7} {"kind":"new"} (single, jobs [3])`
	assert.Equal(t, text, message.String())
	assert.Equal(t, "["+text+"]", fmt.Sprint([]postofficetest.Message{message}))
	assert.Equal(t, text, fmt.Sprintf("%+v", message))

	scheduled := postofficetest.Message{Number: 2, Topic: "bills", Via: postofficetest.Scheduled, DeliverAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	assert.Equal(t, `message 2 of topic "bills": none (scheduled, deliver at 2026-01-02T03:04:05Z, no consumer)`, scheduled.String())

	delivery := postofficetest.Delivery{JobID: 3, Attempt: 2, Topic: "orders", Target: "http://billing/in", Body: []byte(`{"id":7}`), Status: 503}
	assert.Equal(t, `attempt 2 of job 3 for topic "orders" to http://billing/in: 503, body {"id":7}`, delivery.String())
	delivery.Status, delivery.Err = 0, errors.New("timeout")
	assert.Equal(t, `attempt 2 of job 3 for topic "orders" to http://billing/in: timeout, body {"id":7}`, delivery.String())

	request := postofficetest.Request{Method: "POST", Path: "/api/messages", Body: []byte("{}"), Status: 201}
	assert.Equal(t, "POST /api/messages: 201, body {}", request.String())
	assert.Equal(t, "GET /api/health: not answered", postofficetest.Request{Method: "GET", Path: "/api/health"}.String())

	message.Payload = []byte(`{"text":"` + strings.Repeat("é", 1000) + `"}`)
	long := message.String()
	assert.Less(t, len(long), 1200)
	assert.Contains(t, long, "é… (2011 bytes)")
	assert.NotContains(t, long, "\uFFFD")
}
