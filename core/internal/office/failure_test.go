package office

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
		want   Class
	}{
		{"request timeout", 408, "", Transient},
		{"too many requests", 429, "", Transient},
		{"internal server error", 500, internal, Transient},
		{"bad gateway with a page", 502, "<html>", Transient},
		{"unavailable", 503, "", Transient},
		{"unknown topic of a message", 400, badTopic, UnknownTopic},
		{"unknown topic of a bulk request", 406, noTopic, UnknownTopic},
		{"more payloads than the server takes", 406, exceeded, TooLarge},
		{"body too large", 413, "", TooLarge},
		{"another field is at fault", 400, badType, Permanent},
		{"bad request", 400, `{"errors":{"detail":"Bad Request"}}`, Permanent},
		{"bad request without reasons", 400, "", Permanent},
		{"not acceptable", 406, notAllowed, Misconfigured},
		{"unauthorized", 401, "", Misconfigured},
		{"forbidden", 403, "", Misconfigured},
		{"not found", 404, `{"errors":{"detail":"Not Found"}}`, Misconfigured},
		{"redirect", 302, "", Misconfigured},
		{"ok from something else", 200, "<html>", Misconfigured},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := someOffice.classify(someRequest, test.status, http.Header{}, "orders", []byte(test.body))
			assert.Equal(t, test.want, f.Class)
			answer, ok := errors.AsType[answerError](f)
			require.True(t, ok)
			assert.Equal(t, test.status, answer.Status)
			assert.Equal(t, "orders", answer.Topic)
		})
	}
}

// answerError is what the office of the tests makes of an answer.
type answerError struct{ Answer }

func (answerError) Error() string { return "refused" }

var someOffice = &Office{config: Config{ErrorOf: func(a Answer) error { return answerError{a} }}}

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
	assert.Equal(t, 30*time.Second, someOffice.classify(someRequest, 429, header, "", nil).RetryAfter)
	assert.Zero(t, someOffice.classify(someRequest, 400, header, "", nil).RetryAfter)
}

func TestQuickRetryHelps(t *testing.T) {
	answered := func(status int, header http.Header) *Failure {
		return someOffice.classify(someRequest, status, header, "", nil)
	}
	for name, test := range map[string]struct {
		f    *Failure
		want bool
	}{
		"bad gateway":        {answered(502, nil), true},
		"unavailable":        {answered(503, nil), true},
		"gateway timeout":    {answered(504, nil), true},
		"asked for patience": {answered(503, http.Header{"Retry-After": {"5"}}), false},
		"internal error":     {answered(500, nil), false},
		"too many requests":  {answered(429, nil), false},
		"bad request":        {answered(400, nil), false},
		"connection broke":   {&Failure{Broken: true}, true},
		"connection refused": {&Failure{}, false},
		"timed out":          {&Failure{Broken: true, TimedOut: true}, false},
		"circuit is open":    {&Failure{Cause: ErrBreakerOpen, Untried: true}, false},
		"success":            {nil, false},
	} {
		assert.Equal(t, test.want, quickRetryHelps(test.f), name)
	}
}
