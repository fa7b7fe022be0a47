package office

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Class is the kind of a failure, by the action that it requires.
type Class int

const (
	// Transient failures resolve on their own: network, timeout, 408, 429, 5xx.
	Transient Class = iota
	// Misconfigured failures need a change of the server or of a proxy before
	// the same request can succeed: 401, 403, 404, and responses that a
	// Postoffice server never gives.
	Misconfigured
	// UnknownTopic means that the server does not have the topic (yet).
	UnknownTopic
	// TooLarge means that the request may succeed in smaller parts: 413 and the
	// server's limit of payloads.
	TooLarge
	// Permanent failures recur whenever the message is sent: other 400.
	Permanent
)

// Failure describes a request that the server did not accept, or may not have
// accepted.
type Failure struct {
	Class Class
	// Cause is the error for the user.
	Cause error
	// Status is the HTTP status of the response, 0 if there was none.
	Status int
	// RetryAfter is the minimum time to wait that the server requested.
	RetryAfter time.Duration
	// Untried means that nothing was sent.
	Untried bool
	// OfServer means that the server failed a request without messages, which
	// was sent in place of one with messages, see [Office.Ask].
	OfServer bool
	// Broken means that an established connection broke before the response.
	Broken bool
	// TimedOut means that the response did not arrive in time.
	TimedOut bool
	// Interrupted means that the caller's deadline, or the client's at Stop,
	// ended the request before the server's timeout.
	Interrupted bool
}

// Answer is an unsuccessful response, from the server or from another HTTP
// server at its address.
type Answer struct {
	Status int
	// Topic is the topic of the request; empty for none.
	Topic string
	// Method and URL are the method and URL of the request, without userinfo.
	Method, URL string
	// Location is the scheme and host of a redirect's target.
	Location string
	// Reasons are the server's reasons by field; nil if it gave none.
	Reasons map[string][]string
}

// Error returns the text of the cause.
func (f *Failure) Error() string { return f.Cause.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// asError returns the failure as an error; nil for no failure.
func (f *Failure) asError() error {
	if f == nil {
		return nil
	}
	return f
}

// AsFailure returns the failure in an error. Any other error counts as
// transient.
func AsFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Class: Transient, Cause: err}
}

// classify returns the failure of an unsuccessful response. The request must
// not have been modified by the app's http.RoundTripper.
func (o *Office) classify(request *http.Request, status int, header http.Header, topic string, body []byte) *Failure {
	answer := Answer{Status: status, Topic: topic, Method: request.Method, URL: request.URL.String(), Reasons: wire.ParseErrors(body)}
	if 300 <= status && status < 400 {
		answer.Location = redirect(request.URL, header.Get("Location"))
	}
	f := &Failure{Class: classOf(status, answer.Reasons), Cause: o.config.ErrorOf(answer), Status: status}
	if f.Class == Transient {
		f.RetryAfter = retryAfter(header.Get("Retry-After"), time.Now())
	}
	return f
}

// redirect returns the scheme and host of a Location header, relative to an
// address.
func redirect(from *url.URL, location string) string {
	if location == "" {
		return ""
	}
	to, err := from.Parse(location)
	if err != nil {
		return ""
	}
	return to.Scheme + "://" + to.Host
}

func classOf(status int, reasons map[string][]string) Class {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return Transient
	case status == http.StatusRequestEntityTooLarge:
		return TooLarge
	case status == http.StatusBadRequest:
		if slices.Contains(reasons["topic"], "is invalid") {
			return UnknownTopic
		}
		return Permanent
	case status == http.StatusNotAcceptable:
		for _, reason := range reasons[wire.DetailKey] {
			switch {
			case strings.EqualFold(reason, wire.BulkTopicError):
				return UnknownTopic
			case strings.EqualFold(reason, wire.BulkLimitError):
				return TooLarge
			}
		}
	}
	return Misconfigured
}

// maxRetryAfter is the maximum time for which the server can delay a retry.
const maxRetryAfter = time.Hour

// retryAfter parses a Retry-After header (RFC 9110, section 10.2.3): seconds or
// a date. It returns zero for other values and at most maxRetryAfter.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if strings.Trim(value, "0123456789.") == "" {
		seconds, _ := strconv.ParseFloat(value, 64) // infinite if out of range
		return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// failsServer reports whether the failure affects the server as a whole. The
// circuit breaker counts such failures.
func (f *Failure) failsServer() bool {
	return f.Class == Transient && f.Status != http.StatusRequestTimeout
}

// doubtful reports whether a failure that counts for the circuit breaker may
// have been caused by a message instead of the server: the server responds with
// 500 to permanent errors, and a message can make it hang or break the
// connection. A response with Retry-After is about the server.
func (f *Failure) doubtful() bool {
	return !f.Untried && !f.OfServer && !f.Interrupted && f.RetryAfter == 0 &&
		(f.Status >= http.StatusInternalServerError || f.Broken || f.TimedOut)
}

// LikelyOfServer reports whether the server is the more likely cause of a
// doubtful failure: for a timeout, or a proxy that cannot reach the server.
func (f *Failure) LikelyOfServer() bool {
	switch f.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.TimedOut
}

// MayBeOneMessage reports whether a single message may have caused the failure
// of a request, with any status.
func (f *Failure) MayBeOneMessage() bool {
	return f.Class == Permanent || f.Class == Misconfigured || f.doubtful()
}

// OfOne turns the failure of a request into the failure of its only message,
// which cannot be split further.
func (f *Failure) OfOne() {
	if f.Class == TooLarge {
		f.Class = Permanent
	}
}
