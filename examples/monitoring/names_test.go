package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// exported returns what the app shows Prometheus after everything has happened
// once: the names of the metrics, and of their labels.
func exported(t *testing.T) (metrics, labels map[string]bool) {
	t.Helper()
	meters, handler, err := newMetrics()
	require.NoError(t, err)
	observer := otelpo.Observer(otelpo.WithMeterProvider(meters))
	client, err := core.NewClient(core.Config{
		URL: "http://127.0.0.1:1", Outbox: memory.New(), Observer: observer, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	stopGauges, err := otelpo.Gauges(client, otelpo.WithMeterProvider(meters))
	require.NoError(t, err)
	event := core.Event{Topic: orders, Messages: 1, Class: core.FailureConfig, Err: errors.New("refused")}
	for _, happens := range []func(core.Event){
		observer.Published, observer.Delivered, observer.Stored, observer.Spilled, observer.Failed, observer.Dead,
		observer.NoConsumer, observer.Discarded, observer.Listed, observer.Recovered,
	} {
		happens(event)
	}
	observer.Breaker(core.BreakerOpen)
	observer.Setup(core.SetupResult{Topic: orders, Status: core.SetupFailed})
	_, end := observer.Publish(t.Context(), core.PublishCall{Topic: orders, Messages: 1})
	end(core.Receipt{}, event.Err)

	received := otelpo.DeliveryObserver(otelpo.WithMeterProvider(meters))
	inbox, err := delivery.NewInbox(memory.New(), delivery.InboxOptions{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	stopInboxGauges, err := otelpo.InboxGauges(inbox, otelpo.WithMeterProvider(meters))
	require.NoError(t, err)
	received.Handled(delivery.Event{Topic: orders, Name: orders, Attempts: 1})
	received.Handled(delivery.Event{Topic: orders, Name: orders, Attempts: 1, Kind: delivery.Failed, Err: event.Err})

	page := httptest.NewRecorder()
	handler.ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	metrics, labels = map[string]bool{}, map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^(\w+)\{(.*)\} `).FindAllStringSubmatch(page.Body.String(), -1) {
		metrics[line[1]] = true
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(line[2], -1) {
			labels[label[1]] = true
		}
	}
	require.NoError(t, stopGauges())
	require.NoError(t, stopInboxGauges())
	require.NoError(t, meters.Shutdown(t.Context()))
	require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
	return metrics, labels
}

// TestNames sees that the rules and the dashboard name nothing that the app
// does not show, and leave out no metric.
func TestNames(t *testing.T) {
	metrics, labels := exported(t)
	used := map[string]bool{}
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		names := regexp.MustCompile(`\b(postoffice|messaging|error)_\w+`).FindAllString(string(text), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			assert.True(t, metrics[name] || labels[name], "%s: nothing is called %s", file, name)
			used[name] = true
		}
	}
	for metric := range metrics {
		family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(metric, "_bucket"), "_sum"), "_count")
		shown := used[metric] || used[family+"_bucket"] || family == "target_info"
		assert.True(t, shown, "neither the rules nor the dashboard use %s", metric)
	}
}

// TestReadme sees that the README has the alerts that there are.
func TestReadme(t *testing.T) {
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	named := func(pattern string, text []byte) map[string]string {
		found := map[string]string{}
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found[string(match[1])] = string(match[2])
		}
		require.NotEmpty(t, found)
		return found
	}
	assert.Equal(t, named(`alert: (\w+)[\s\S]*?severity: (\w+)`, rules), named(`\| (Postoffice\w+) \|.*\| (\w+) \|`, readme))
}

// dashboard is what the tests look at of dashboard.json.
type dashboard struct {
	UID    string
	Panels []struct {
		ID          int
		Type, Title string
		Description string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ Expr string }
	}
	Templating struct{ List []struct{ Name string } }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

// TestDashboard sees that panels do not overlap, and that they say what they
// show.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	assert.NotEmpty(t, d.UID)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, panel := range d.Panels {
		assert.False(t, ids[panel.ID], "%d twice", panel.ID)
		ids[panel.ID] = true
		at := panel.GridPos
		assert.LessOrEqual(t, at.X+at.W, 24, panel.Title)
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				assert.Empty(t, taken[[2]int{x, y}], "below %s", panel.Title)
				taken[[2]int{x, y}] = panel.Title
			}
		}
		if panel.Type != "row" {
			assert.NotEmpty(t, panel.Description, panel.Title)
			assert.NotEmpty(t, panel.Targets, panel.Title)
		}
	}
}
