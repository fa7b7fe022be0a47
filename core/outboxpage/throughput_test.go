package outboxpage

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

func TestLastHour(t *testing.T) {
	begin := time.Date(2026, 5, 4, 10, 30, 0, 0, time.Local)
	body := lastHour([]core.Minute{
		{Begin: begin, Delivered: 1500, Stored: 450, Dead: 50},
		{Begin: begin.Add(time.Minute)},
		{Begin: begin.Add(2 * time.Minute), Delivered: 1000},
		{Begin: begin.Add(3 * time.Minute), Dead: 1},
	}, begin.Add(3*time.Minute+10*time.Second))
	assert.Equal(t, hourBody{
		Delivered: 2500, Stored: 450, Dead: 51, Peak: 2000,
		Since: webpage.MomentOf(begin, "3 minutes ago"),
		Bars: []barBody{
			{begin.Format(time.RFC3339), "10:30: 1,500 delivered, 450 stored, 50 dead", []barPart{
				{"delivered", 560, 15, 45}, {"stored", 560, 1.5, 13.5}, {"dead", 560, 0, 2},
			}},
			{begin.Add(2 * time.Minute).Format(time.RFC3339), "10:32: 1,000 delivered", []barPart{{"delivered", 580, 30, 30}}},
			{begin.Add(3 * time.Minute).Format(time.RFC3339), "10:33: 0 delivered, 1 dead", []barPart{{"dead", 590, 58, 2}}},
		},
	}, body, "the newest minute is at the right, and small parts are visible")

	full := make([]core.Minute, hourMinutes)
	for i := range full {
		full[i] = core.Minute{Begin: begin.Add(time.Duration(i) * time.Minute)}
	}
	assert.Equal(t, hourBody{}, lastHour(full, begin.Add(time.Hour)), "an hour without messages")
	full[0].Delivered = 7
	assert.Zero(t, lastHour(full, begin.Add(time.Hour)).Bars[0].Parts[0].X)
}

func TestListShowsTheLastHour(t *testing.T) {
	a := start(t, func(c *core.Config, _ *Options) { c.OriginHost = "http://127.0.0.1:9"; c.Topics = []string{"orders"} })
	_, err := a.client.Setup(t.Context())
	require.NoError(t, err)
	list := a.get("")
	assert.Contains(t, list, "Last hour")
	assert.NotContains(t, list, "<svg", "there is nothing to see yet")

	_, err = a.client.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, 1200)))
	require.NoError(t, err)
	a.server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusBadRequest, true })
	_, err = a.client.Publish(t.Context(), "orders", map[string]any{})
	require.NoError(t, err)
	list = a.get("")
	assert.Contains(t, list, `<dd id="hour-delivered">1,200</dd>`)
	assert.Contains(t, list, `<dd id="hour-stored">0</dd>`)
	assert.Contains(t, list, `<dd id="hour-dead">1</dd>`)
	assert.Equal(t, 2, strings.Count(list, "<rect"))
	assert.Contains(t, list, "counted since the app started")
}
