package core

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClassify(t *testing.T) {
	const (
		badTopic   = `{"data":{"errors":{"topic":["is invalid"]}}}`
		badType    = `{"data":{"errors":{"type":["is invalid"]}}}`
		noTopic    = `{"data":{"errors":"Topic does not exist"}}`
		exceeded   = `{"data":{"errors":"Exceed max messages to ingest in bulk"}}`
		notAllowed = `{"errors":{"detail":"Not Acceptable"}}`
		internal   = `{"errors":{"detail":"Internal Server Error"}}`
	)
	tests := []struct {
		name   string
		status int
		body   string
		want   class
	}{
		{"request timeout", 408, "", transient},
		{"too many requests", 429, "", transient},
		{"internal server error", 500, internal, transient},
		{"bad gateway with a page", 502, "<html>", transient},
		{"unavailable", 503, "", transient},
		{"unknown topic of a message", 400, badTopic, unknownTopic},
		{"unknown topic of a bulk request", 406, noTopic, unknownTopic},
		{"more payloads than the server takes", 406, exceeded, tooLarge},
		{"body too large", 413, "", tooLarge},
		{"another field is at fault", 400, badType, permanent},
		{"bad request", 400, `{"errors":{"detail":"Bad Request"}}`, permanent},
		{"bad request without reasons", 400, "", permanent},
		{"not acceptable", 406, notAllowed, misconfigured},
		{"unauthorized", 401, "", misconfigured},
		{"forbidden", 403, "", misconfigured},
		{"not found", 404, `{"errors":{"detail":"Not Found"}}`, misconfigured},
		{"redirect", 302, "", misconfigured},
		{"ok from something else", 200, "<html>", misconfigured},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := classify(someRequest, test.status, http.Header{}, "orders", []byte(test.body))
			assert.Equal(t, test.want, f.class)
			response, ok := errors.AsType[*ResponseError](f)
			require.True(t, ok)
			assert.Equal(t, test.status, response.StatusCode)
			assert.Equal(t, "orders", response.Topic)
		})
	}
}

func TestResponseErrorTellsReasons(t *testing.T) {
	err := &ResponseError{StatusCode: 400, Topic: "orders", Errors: map[string][]string{
		"type": {"is invalid"}, "detail": {"Bad Request"}, "target": {"can't be blank", "is odd"},
	}}
	assert.EqualError(t, err, `server answered 400 for topic "orders": Bad Request; target can't be blank, is odd; type is invalid`)
	assert.EqualError(t, &ResponseError{StatusCode: 502}, "server answered 502")
}

// someRequest is one to be answered.
var someRequest = httptest.NewRequest("POST", "http://postoffice.test/api/messages", nil)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"0":                             0,
		"-7":                            0,
		"99999999":                      maxRetryAfter,
		"1.5":                           1500 * time.Millisecond,
		"99999999999":                   maxRetryAfter,
		"9223372036854775807":           maxRetryAfter,
		"99999999999999999999999":       maxRetryAfter,
		strings.Repeat("9", 1000):       maxRetryAfter,
		"-99999999999":                  0,
		"NaN":                           0,
		"5m":                            0,
		".":                             0,
		"soon":                          0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second,
		"Fri, 02 Jan 2026 03:03:35 GMT": 0,
		"Fri, 02 Jan 2037 03:03:35 GMT": maxRetryAfter,
		"Fri, 31 Dec 9999 23:59:59 GMT": maxRetryAfter,
	} {
		assert.Equal(t, want, retryAfter(value, now), "Retry-After: %q", value)
	}
}

func TestRetryAfterIsReadFromTransientAnswers(t *testing.T) {
	header := http.Header{"Retry-After": {"30"}}
	assert.Equal(t, 30*time.Second, classify(someRequest, 429, header, "", nil).retryAfter)
	assert.Zero(t, classify(someRequest, 400, header, "", nil).retryAfter)
}

func TestQuickRetryHelps(t *testing.T) {
	answered := func(status int, header http.Header) error { return classify(someRequest, status, header, "", nil) }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"bad gateway":         {answered(502, nil), true},
		"unavailable":         {answered(503, nil), true},
		"gateway timeout":     {answered(504, nil), true},
		"asked for patience":  {answered(503, http.Header{"Retry-After": {"5"}}), false},
		"internal error":      {answered(500, nil), false},
		"too many requests":   {answered(429, nil), false},
		"bad request":         {answered(400, nil), false},
		"connection broke":    {&failure{broken: true}, true},
		"connection refused":  {&failure{}, false},
		"timed out":           {&failure{broken: true, timedOut: true}, false},
		"circuit is open":     {&failure{cause: ErrBreakerOpen, untried: true}, false},
		"error of other kind": {errors.New("?"), false},
	} {
		assert.Equal(t, test.want, quickRetryHelps(test.err), name)
	}
}
