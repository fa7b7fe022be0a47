package devserver

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// health calls the API; an error is an error of the connection.
func (s *running) health() (reply, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+wire.HealthPath, nil)
	require.NoError(s.t, err)
	response, err := s.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(body)}, err
}

func TestBreak(t *testing.T) {
	s := start(t, Options{})
	breaks := func(fields url.Values, says string) {
		t.Helper()
		location := s.post("/dev/break", fields)
		assert.Contains(t, location, "note=broken")
		body := s.get("/")
		assert.Contains(t, body, "Broken on purpose")
		assert.Contains(t, body, says)
	}
	mends := func() {
		t.Helper()
		assert.Contains(t, s.post("/dev/mend", url.Values{}), "note=mended")
		assert.NotContains(t, s.get("/"), "Broken on purpose")
		got, err := s.health()
		require.NoError(t, err)
		assert.Equal(t, 200, got.status)
		assert.JSONEq(t, `{"status":"ok"}`, got.body)
	}

	breaks(url.Values{"how": {"status"}, "status": {"503"}}, "responds to all requests with 503 Service Unavailable")
	for range 3 {
		got, err := s.health()
		require.NoError(t, err)
		assert.Equal(t, 503, got.status)
	}
	mends()

	breaks(url.Values{"how": {"status"}, "status": {"429"}, "times": {"2"}, "retry": {"7"}}, "responds to the next 2 requests with 429 Too Many Requests and Retry-After: 7")
	for i, status := range []int{429, 429, 200} {
		got, err := s.health()
		require.NoError(t, err)
		assert.Equal(t, status, got.status)
		if i == 0 {
			assert.Equal(t, "7", got.header.Get("Retry-After"))
		}
	}
	assert.NotContains(t, s.get("/"), "Broken on purpose", "it is used up")

	breaks(url.Values{"how": {"slow"}, "slow": {"0.2"}}, "responds 0.2 seconds late")
	before := time.Now()
	_, err := s.health()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(before), 200*time.Millisecond)
	mends()

	breaks(url.Values{"how": {"reset"}}, "resets every connection")
	_, err = s.health()
	require.ErrorIs(t, err, syscall.ECONNRESET)
	status := s.do(http.MethodGet, "/dev/messages", nil).status
	assert.Equal(t, 200, status, "the page still works")
	mends()

	s.addTopic("orders")
	breaks(url.Values{"how": {"drop"}}, "cuts the connection instead of responding")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+wire.MessagePath, strings.NewReader(`{"topic":"orders","payload":{},"attributes":{}}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	_, err = s.client.Do(request) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, io.EOF)
	assert.Contains(t, s.get("/dev/messages"), `id="message-1"`, "it was accepted")
	mends()

	breaks(url.Values{"how": {"unwell"}}, "reports that it is unhealthy")
	got, err := s.health()
	require.NoError(t, err)
	assert.JSONEq(t, `{"status":"ko"}`, got.body)
	mends()

	breaks(url.Values{"how": {"hang"}}, "does not respond")
	answered := make(chan error, 1)
	go func() {
		_, err := s.health()
		answered <- err
	}()
	s.get("/")
	breaks(url.Values{"how": {"status"}, "status": {"500"}}, "500 Internal Server Error")
	require.NoError(t, <-answered, "requests that hang continue when another fault is chosen")
	mends()
}

func TestBreakBadly(t *testing.T) {
	s := start(t, Options{})
	for name, fields := range map[string]url.Values{
		"status":           {"how": {"status"}, "status": {"200"}},
		"status, text":     {"how": {"status"}, "status": {"x"}},
		"times":            {"how": {"status"}, "status": {"500"}, "times": {"0"}},
		"retry":            {"how": {"status"}, "status": {"500"}, "retry": {"-1"}},
		"slow":             {"how": {"slow"}, "slow": {"soon"}},
		"slow, NaN":        {"how": {"slow"}, "slow": {"NaN"}},
		"slow, infinite":   {"how": {"slow"}, "slow": {"Inf"}},
		"refuse":           {"how": {"refuse"}, "refuse": {"301"}},
		"refuse, empty":    {"how": {"refuse"}},
		"refuse, fraction": {"how": {"refuse"}, "refuse": {"1.5"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(http.MethodPost, "/dev/break", fields)
			assert.Equal(t, 422, got.status)
			assert.Contains(t, got.body, `aria-invalid="true"`)
			assert.NotContains(t, got.body, "Broken on purpose")
		})
	}
	assert.Equal(t, 400, s.do(http.MethodPost, "/dev/break", url.Values{}).status)
}

func TestRefuse(t *testing.T) {
	s := start(t, Options{})
	s.addTopic("orders")
	events := s.events()
	got := s.do(http.MethodPost, "/dev/break", url.Values{"how": {"refuse"}, "refuse": {"1"}})
	require.Equal(t, 200, got.status)
	assert.Contains(t, got.body, `<meta http-equiv="refresh" content="2; url=/dev/break">`)
	ends(t, events)
	eventually(t, func() bool {
		_, err := s.health()
		return errors.Is(err, syscall.ECONNREFUSED)
	}, "connections are refused")
	eventually(t, func() bool {
		_, err := s.health()
		return err == nil
	}, "it comes back")
	assert.Contains(t, s.get("/"), "orders", "with its state")
}

// A server that refuses connections can be stopped.
func TestRefuseAndEnd(t *testing.T) {
	s := start(t, Options{})
	got := s.do(http.MethodPost, "/dev/break", url.Values{"how": {"refuse"}, "refuse": {"300"}})
	require.Equal(t, 200, got.status)
	require.NoError(t, s.stop())
}
