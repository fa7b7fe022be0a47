package core

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// class says what to do about a request that the server did not accept.
type class int

const (
	// transient failures pass: network, timeout, 408, 429, 5xx.
	transient class = iota
	// misconfigured needs a change of the server or of a proxy before the
	// same request can pass: 401, 403, 404, answers that no Postoffice gives.
	misconfigured
	// unknownTopic is a topic that the server does not have (yet).
	unknownTopic
	// tooLarge is a request that may pass in smaller parts: 413 and the
	// server's limit of payloads.
	tooLarge
	// permanent failures come back whenever the message is sent: other 400.
	permanent
)

// failure is a request that the server did not accept, or not surely.
type failure struct {
	class
	// cause is what the caller gets to see.
	cause error
	// status is the answer's, 0 when there was none.
	status int
	// retryAfter is the least time to wait, as the server asked.
	retryAfter time.Duration
	// untried tells that nothing was sent.
	untried bool
	// ofServer tells that the server failed a request without messages, which
	// was sent in the place of one with some, see [transport.ask].
	ofServer bool
	// broken tells that an established connection broke before an answer.
	broken bool
	// timedOut tells that the answer did not come in time.
	timedOut bool
	// interrupted tells that the caller's time was up, or the client's at
	// Stop, before the time that the server has.
	interrupted bool
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// asFailure finds the failure in an error; any other error counts as
// transient, because nothing is known about it.
func asFailure(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return &failure{class: transient, cause: err}
}

// classify turns an answer that is no success into a failure. The request is
// as it was before an app's http.RoundTripper may have changed it.
func classify(request *http.Request, status int, header http.Header, topic string, body []byte) *failure {
	reasons := wire.ParseErrors(body)
	cause := &ResponseError{StatusCode: status, Topic: topic, Method: request.Method, URL: request.URL.String(), Errors: reasons}
	if 300 <= status && status < 400 {
		cause.Location = redirect(request.URL, header.Get("Location"))
	}
	f := &failure{class: classOf(status, reasons), cause: cause, status: status}
	if f.class == transient {
		f.retryAfter = retryAfter(header.Get("Retry-After"), time.Now())
	}
	return f
}

func classOf(status int, reasons map[string][]string) class {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return transient
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge
	case status == http.StatusBadRequest:
		if slices.Contains(reasons["topic"], "is invalid") {
			return unknownTopic
		}
		return permanent
	case status == http.StatusNotAcceptable:
		for _, reason := range reasons[wire.DetailKey] {
			switch {
			case strings.EqualFold(reason, wire.BulkTopicError):
				return unknownTopic
			case strings.EqualFold(reason, wire.BulkLimitError):
				return tooLarge
			}
		}
	}
	return misconfigured
}

// maxRetryAfter bounds how long a server can hold a message back.
const maxRetryAfter = time.Hour

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds
// or a date. Anything else is none. However long it is, the result is at most
// maxRetryAfter.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if strings.Trim(value, "0123456789.") == "" {
		seconds, _ := strconv.ParseFloat(value, 64) // infinite where it is out of range
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// failsServer tells whether the failure speaks against the server as a
// whole, which the circuit breaker counts.
func (f *failure) failsServer() bool {
	return f.class == transient && f.status != http.StatusRequestTimeout
}

// doubtful tells whether a failure that counts for the circuit breaker may be
// due to a message, and not to the server: the server answers permanent errors
// with 500, and a message can make it hang or break the connection. An answer
// with Retry-After speaks of the server.
func (f *failure) doubtful() bool {
	return !f.untried && !f.ofServer && !f.interrupted && f.retryAfter == 0 &&
		(f.status >= http.StatusInternalServerError || f.broken || f.timedOut)
}

// likelyOfServer tells whether a doubtful failure is more likely due to the
// server: it took too long, or a proxy had no server to ask.
func (f *failure) likelyOfServer() bool {
	switch f.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.timedOut
}

// mayBeOneMessage tells whether a request may have failed because of a single
// message in it, whatever the status.
func (f *failure) mayBeOneMessage() bool {
	return f.class == permanent || f.class == misconfigured || f.doubtful()
}

// ofOne turns the failure of a request into that of its only message, which
// cannot be made smaller.
func (f *failure) ofOne() {
	if f.class == tooLarge {
		f.class = permanent
	}
}
