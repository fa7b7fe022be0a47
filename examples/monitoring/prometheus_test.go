package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// program finds a program of Prometheus. Where it is not installed the test is
// skipped; with POSTOFFICE_CI=1 it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("POSTOFFICE_CI") == "1":
		t.Fatalf("needs %s, which is not installed; with POSTOFFICE_CI=1 it must be there", name)
	default:
		t.Skipf("needs %s, which is not installed", name)
	}
	return path
}

func TestRules(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", "alerts.yml"}, {"check", "config", "--lint-fatal", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		output, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		assert.NoError(t, err, "promtool %s\n%s", strings.Join(args, " "), output)
		assert.Contains(t, string(output), "SUCCESS")
	}
}

// watcher is a Prometheus of the test's own.
type watcher struct{ url string }

// startPrometheus starts one with the example's configuration, for an app at an
// address. It looks every second. It ends with the test.
func startPrometheus(t *testing.T, address string) watcher {
	t.Helper()
	path := program(t, "prometheus")
	text, err := os.ReadFile("prometheus.yml")
	require.NoError(t, err)
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	config := string(text)
	for from, to := range map[string]string{
		": 15s": ": 1s", ": 10s": ": 1s", "- alerts.yml": "- " + rules, "127.0.0.1:8080": address,
	} {
		require.Contains(t, config, from)
		config = strings.ReplaceAll(config, from, to)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))

	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 10 * time.Second
	output, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	said := make(chan string)
	go func() {
		defer close(said)
		listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if match := listening.FindStringSubmatch(lines.Text()); match != nil {
				said <- match[1]
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range said { // until it has ended
		}
		_ = command.Wait() // it was interrupted
	})
	host, ok := <-said
	require.True(t, ok, "Prometheus has ended")
	return watcher{"http://" + host}
}

// get asks the API and decodes the data of its answer. While Prometheus starts
// it may not answer well: that is false.
func (p watcher) get(t *testing.T, path string, data any) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	require.NoError(t, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	if response.StatusCode == http.StatusServiceUnavailable {
		return false
	}
	require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", path, text)
	require.NoError(t, json.Unmarshal(text, &struct{ Data any }{data}))
	return true
}

// results is how many results a query has now.
func (p watcher) results(t *testing.T, query string) int {
	t.Helper()
	var data struct{ Result []json.RawMessage }
	p.get(t, "/api/v1/query?"+url.Values{"query": {query}}.Encode(), &data)
	return len(data.Result)
}

// alerts are the names of the alerts that fire.
func (p watcher) alerts(t *testing.T) (names []string) {
	t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	p.get(t, "/api/v1/alerts", &data)
	for _, alert := range data.Alerts {
		if alert.State == "firing" {
			names = append(names, alert.Labels["alertname"])
		}
	}
	return names
}

// TestPrometheus has a real Prometheus watch the app while its server comes and
// goes: every query of the dashboard shows something, and alerts go off.
func TestPrometheus(t *testing.T) {
	for _, name := range []string{"POSTOFFICE_URL", "POSTOFFICE_SETTINGS", "POSTOFFICE_TOPICS", "POSTOFFICE_CONSUMERS"} {
		t.Setenv(name, "")
	}
	program(t, "prometheus")
	ctx, cancel := context.WithCancel(t.Context())
	output, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-addr", "127.0.0.1:0", "-rate", "200", "-up", "2s", "-down", "2s", "-outbox-interval", "1s"}, stdout)
		_ = stdout.Close()
	}()
	var address string
	for lines := bufio.NewScanner(output); address == "" && lines.Scan(); {
		address, _ = strings.CutPrefix(lines.Text(), "listening on http://")
		if address == lines.Text() {
			address = ""
		}
	}
	require.NotEmpty(t, address)
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	p := startPrometheus(t, address)

	values := strings.NewReplacer("$job", ".*", "$instance", ".*", "$topic", ".*", "$outbox", "sum", "$__rate_interval", "1m", "$__range", "1m")
	eventually := func(happens func() bool, what string) {
		t.Helper()
		require.Eventually(t, happens, time.Minute, 200*time.Millisecond, what)
	}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			query := values.Replace(target.Expr)
			require.NotContains(t, query, "$", "%s: not all variables are known", panel.Title)
			switch panel.Title {
			case "Failed calls to Publish", "Recovery":
				p.results(t, query) // calls do not fail, and the rescuer comes after 30 s
			default:
				eventually(func() bool { return p.results(t, query) > 0 }, panel.Title+": "+query)
			}
		}
	}
	for _, alert := range []string{"PostofficeDeadMessages", "PostofficeNoConsumer", "PostofficeInboxDead"} {
		eventually(func() bool {
			for _, fires := range p.alerts(t) {
				if fires == alert {
					return true
				}
			}
			return false
		}, alert)
	}
}
