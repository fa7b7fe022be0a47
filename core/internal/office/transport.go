// Package office implements the HTTP API of a Postoffice server: paths, request
// bodies, connections, timeouts, and what a response means for a message. A
// circuit breaker blocks requests while the server fails. The package knows
// messages, but neither queues nor stores.
package office

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/avast/retry-go/v4"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Limits of requests.
const (
	// maxAnswer bounds the part of a response that is read. The longest
	// response, to a bulk request, has one id for each of at most 6,553 jobs.
	maxAnswer = 1 << 20
	// quickRetryDelay is the pause before the only quick retry.
	quickRetryDelay = 10 * time.Millisecond
	// timePerKB is the additional time for each full kB of the body: the server
	// needs up to 0.6 ms, and the network needs time, too.
	timePerKB = 2 * time.Millisecond
	// maxBody is the largest body of a request, in bytes.
	maxBody = 8_000_000
)

// errServerTimeout is the cause of a context that ended by the timeout of the
// server, not by the caller.
var errServerTimeout = fmt.Errorf("server timed out: %w", context.DeadlineExceeded)

var (
	errNoMessages  = errors.New("the request has no messages")
	errAcceptsNone = errors.New("the server accepts no messages")
)

// Config configures an office. All fields are required unless noted.
type Config struct {
	// URL is the address of the server, without userinfo and trailing slash.
	// Authorization is the Authorization header; empty for none.
	URL, Authorization string
	// Transport sends the requests; nil for the office's own transport.
	Transport http.RoundTripper
	// Timeout bounds a request with one small message, BulkTimeout a request
	// with several. Both grow with the body.
	Timeout, BulkTimeout time.Duration
	// ErrorOf converts a response to the public error.
	ErrorOf func(Answer) error
	// Explain adds a hint to the failure of a message whose topic the server
	// does not have.
	Explain func(topic string, f *Failure)
	// Changed is called with each state change of the circuit breaker, in
	// order.
	Changed func(circuit.State)
	// Observe is called for each request with messages; nil for none. The
	// returned function, if not nil, is called with the outcome.
	Observe func(ctx context.Context, topic string, messages int, origins []any) (context.Context, func(error))
}

// Office implements the server's HTTP API and classifies its responses.
type Office struct {
	config    Config
	transport http.RoundTripper // never nil
	owned     *http.Transport   // nil if the app set one
	templates map[string]*http.Request
	breaker   *breaker
	hearing   hearing
}

// New returns an office. It sends nothing.
func New(config Config) (*Office, error) {
	o := &Office{
		config:    config,
		transport: config.Transport,
		templates: map[string]*http.Request{},
		breaker:   newBreaker(config.Changed),
	}
	if o.transport == nil {
		o.owned = newHTTPTransport()
		o.transport = o.owned
	}
	for path, method := range map[string]string{
		wire.HealthPath:    http.MethodGet,
		wire.TopicsPath:    http.MethodPost,
		wire.ConsumersPath: http.MethodPost,
		wire.MessagePath:   http.MethodPost,
		wire.BulkPath:      http.MethodPost,
		wire.SchedulePath:  http.MethodPost,
	} {
		template, err := http.NewRequestWithContext(context.Background(), method, config.URL+path, nil)
		if err != nil {
			return nil, fmt.Errorf("creating a request: %w", err)
		}
		template.Header.Set("Accept", "application/json")
		template.Header.Set("User-Agent", "postoffice-go")
		if method == http.MethodPost {
			template.Header.Set("Content-Type", "application/json")
		}
		if config.Authorization != "" {
			template.Header.Set("Authorization", config.Authorization)
		}
		o.templates[path] = template
	}
	return o, nil
}

// Owned reports whether the transport is the office's own, which does not close
// a body before it has finished reading it.
func (o *Office) Owned() bool { return o.owned != nil }

// State returns the state of the circuit breaker.
func (o *Office) State() circuit.State { return o.breaker.state() }

// IsOpen reports whether the circuit breaker is open. It is cheap while the
// server works.
func (o *Office) IsOpen() bool { return o.breaker.isOpen() }

// Blame counts a message that failed for the first time and may have caused the
// failure.
func (o *Office) Blame(f *Failure) { o.breaker.blame(f) }

// request returns a request for a path. With the office's own transport, all
// requests share URL and header, because http.Transport does not modify them.
// The app's http.RoundTripper may modify them and gets copies.
func (o *Office) request(ctx context.Context, path string, body body) *http.Request {
	request := o.templates[path].WithContext(ctx)
	if o.owned == nil {
		address := *request.URL
		request.URL, request.Header = &address, request.Header.Clone()
	}
	if body.text != nil {
		request.ContentLength = int64(body.size())
		request.Body = body.open()
		// With GetBody, net/http retries on another connection if the first one
		// was closed before anything was written.
		request.GetBody = func() (io.ReadCloser, error) { return body.open(), nil }
	}
	return request
}

// roundTrip sends one request and reads the whole body of its response, because
// only then the connection can be reused. It uses the http.RoundTripper
// directly, because an http.Client follows redirects and may turn a POST into a
// GET.
func (o *Office) roundTrip(ctx context.Context, path, topic string, body body) ([]byte, *Failure) {
	transport := o.transport
	request := o.request(ctx, path, body)
	before := o.hearing.listen(ctx, transport)
	response, err := transport.RoundTrip(request)
	if err != nil {
		f := o.networkFailure(ctx, topic, err)
		o.hearing.failed(before, f)
		return nil, f
	}
	o.hearing.answered()
	defer func() { _ = response.Body.Close() }()
	answer, err := readBody(response)
	if response.StatusCode == http.StatusCreated {
		// The status means that the message is accepted. The missing job ids do
		// not justify delivering the message twice.
		return answer, nil
	}
	if err != nil {
		return nil, o.networkFailure(ctx, topic, err)
	}
	if request.Method == http.MethodGet && response.StatusCode == http.StatusOK {
		return answer, nil
	}
	return answer, o.classify(o.templates[path], response.StatusCode, response.Header, topic, answer)
}

// readBody reads the body of a response up to its end or maxAnswer.
func readBody(response *http.Response) ([]byte, error) {
	if length := response.ContentLength; 0 < length && length <= maxAnswer {
		answer := make([]byte, length)
		n, err := io.ReadFull(response.Body, answer)
		return answer[:n], err
	}
	return io.ReadAll(io.LimitReader(response.Body, maxAnswer))
}

// Late returns the failure of a message whose call ended, by the caller's
// deadline or by the timeout, before its request was answered. The circuit
// breaker counts a timeout now, without waiting for the request to end. Calls
// that share a request to a hanging server thus open the breaker as fast as
// others.
func (o *Office) Late(topic string, interrupted bool) *Failure {
	cause := errServerTimeout
	if interrupted {
		cause = context.DeadlineExceeded
	}
	f := &Failure{
		Class: Transient, TimedOut: true, Interrupted: interrupted,
		Cause: o.noAnswer(topic, cause),
	}
	o.breaker.count(f)
	return f
}

// networkFailure returns the failure of a request without a response.
func (o *Office) networkFailure(ctx context.Context, topic string, err error) *Failure {
	f := &Failure{Class: Transient, TimedOut: isTimeout(err) || ctx.Err() != nil}
	f.Interrupted = ctx.Err() != nil && !errors.Is(context.Cause(ctx), errServerTimeout)
	f.Broken = !f.TimedOut && connectionBroke(err)
	f.Cause = o.noAnswer(topic, err)
	return f
}

// noAnswer returns the cause of a failure without a response; the topic may be
// empty.
func (o *Office) noAnswer(topic string, err error) error {
	about := "no response from " + o.config.URL
	if topic != "" {
		about += fmt.Sprintf(" for topic %q", topic)
	}
	return fmt.Errorf("%s: %w", about, err)
}

// Terms are conditions for a request with messages. The zero Terms allow a
// quick retry and use the configured timeout.
type Terms struct {
	// Once means that there is no quick retry.
	Once bool
	// Timeout replaces the configured timeout; zero means none. It also grows
	// with the body. For a single message it can only shorten the configured
	// one.
	Timeout time.Duration
}

// posting is a request with messages.
type posting struct {
	path, topic string
	messages    int
	origins     []any
	body        body
	terms       Terms
}

// attempt sends a request that the circuit breaker counts. If the breaker is in
// doubt about the server, attempt checks the server first.
func (o *Office) attempt(ctx context.Context, r posting) ([]byte, *Failure) {
	if f := o.askIfInDoubt(ctx, r.topic); f != nil {
		return nil, f
	}
	answer, f := o.counted(func() ([]byte, *Failure) { return o.send(ctx, r) })
	if f != nil && f.Class == UnknownTopic {
		o.config.Explain(r.topic, f)
	}
	return answer, f
}

// send sends a request and reports it to the observer.
func (o *Office) send(ctx context.Context, r posting) (answer []byte, f *Failure) {
	if o.config.Observe == nil {
		return o.roundTrip(ctx, r.path, r.topic, r.body)
	}
	ctx, end := o.config.Observe(ctx, r.topic, r.messages, r.origins)
	if end == nil {
		return o.roundTrip(ctx, r.path, r.topic, r.body)
	}
	outcome := errPanicked
	defer func() { end(outcome) }()
	answer, f = o.roundTrip(ctx, r.path, r.topic, r.body)
	outcome = nil
	if f != nil {
		outcome = f.Cause
	}
	return answer, f
}

// counted sends a request that the circuit breaker counts.
func (o *Office) counted(send func() ([]byte, *Failure)) (answer []byte, f *Failure) {
	done, f := o.breaker.allow()
	if f != nil {
		return nil, f
	}
	// The outcome is reported by a deferred call, because a probe that panics
	// in the app's RoundTripper would leave the breaker half-open forever.
	outcome := &Failure{Class: Transient, Cause: errPanicked}
	defer func() { done(outcome) }()
	answer, f = send()
	outcome = f
	return answer, f
}

// askIfInDoubt calls Ask if the breaker requests it.
func (o *Office) askIfInDoubt(ctx context.Context, topic string) *Failure {
	if !o.breaker.asks() {
		return nil
	}
	defer o.breaker.asked()
	return o.Ask(ctx, topic)
}

// Ask checks the server with a bulk request without messages. The server
// processes it like any other, including the query for the topic in its
// database. If it succeeds, other requests that fail at the same time fail
// because of their messages. The result is nil if the server accepts the
// request, or rejects only its content.
func (o *Office) Ask(ctx context.Context, topic string) *Failure {
	if o.breaker.acceptsNone() {
		return &Failure{Class: Transient, Cause: errAcceptsNone, Untried: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.config.Timeout, errServerTimeout)
	defer cancel()
	_, f := o.counted(func() ([]byte, *Failure) {
		answer, f := o.roundTrip(ctx, wire.BulkPath, topic, body{text: emptyBulk(topic)})
		if f == nil {
			f = &Failure{Class: Permanent, Cause: errNoMessages}
		}
		f.OfServer = true
		return answer, f
	})
	if f.Class == Transient || f.Class == Misconfigured {
		return f
	}
	return nil
}

// TimeFor returns the timeout of a request with a body of the given size, based
// on the configured timeout of small requests.
func TimeFor(configured time.Duration, size int) time.Duration {
	return configured + time.Duration(size/1000)*timePerKB
}

// MaxTime returns the maximum time of a request with messages.
func (o *Office) MaxTime() time.Duration {
	return TimeFor(max(o.config.Timeout, o.config.BulkTimeout), maxBody)
}

// post sends a request with messages. It retries once, at once, if the
// connection broke or a proxy could not reach the server. Both attempts share
// the timeout, which grows with the body.
func (o *Office) post(ctx context.Context, r posting, timeout time.Duration) (answer []byte, f *Failure) {
	timeout = TimeFor(cmp.Or(r.terms.Timeout, timeout), r.body.size())
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errServerTimeout)
	defer cancel()
	answer, f = o.attempt(ctx, r)
	if r.terms.Once || !quickRetryHelps(f) {
		return answer, f
	}
	return o.retry(ctx, r, answer, f)
}

// retry retries a failed request once.
func (o *Office) retry(ctx context.Context, r posting, answer []byte, f *Failure) ([]byte, *Failure) {
	tried := false // the first attempt has already failed
	_ = retry.Do(func() error {
		if tried {
			answer, f = o.attempt(ctx, r)
		}
		tried = true
		return f.asError()
	},
		retry.Context(ctx), retry.Attempts(2), retry.RetryIf(func(error) bool { return quickRetryHelps(f) }),
		retry.Delay(quickRetryDelay), retry.MaxJitter(quickRetryDelay),
		retry.DelayType(retry.CombineDelay(retry.FixedDelay, retry.RandomDelay)),
	)
	// Return the result of the attempt: retry returns its own error if the time
	// ends while it waits.
	return answer, f
}

// quickRetryHelps reports whether to retry at once. A server that refuses
// connections, is too slow or sends Retry-After gets no quick retry.
func quickRetryHelps(f *Failure) bool {
	if f == nil || f.RetryAfter > 0 || f.TimedOut || f.OfServer {
		return false
	}
	switch f.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.Broken
}

// Post posts one message of a batch and returns the IDs of its jobs; nil if the
// response has none.
func (o *Office) Post(ctx context.Context, b *message.Batch, index int, terms Terms) ([]int64, *Failure) {
	path, scheduled := wire.MessagePath, b.Scheduled()
	if scheduled {
		path = wire.SchedulePath
	}
	terms.Timeout = min(terms.Timeout, o.config.Timeout)
	r := posting{
		path: path, topic: b.Topic, messages: 1, origins: b.Origins, body: body{text: messageBody(b, index, scheduled)}, terms: terms,
	}
	answer, f := o.post(ctx, r, o.config.Timeout)
	if f != nil {
		return nil, f
	}
	return wire.ParseMessageAnswer(answer), nil
}

// PostBulk posts messages of a batch in one request and returns the IDs of
// their jobs; nil if the response has none. The messages must have the
// attributes of the batch and must not be scheduled.
func (o *Office) PostBulk(ctx context.Context, b *message.Batch, indexes []int, terms Terms) ([]int64, *Failure) {
	r := posting{path: wire.BulkPath, topic: b.Topic, messages: len(indexes), origins: b.Origins, terms: terms}
	if collected, ok := b.Body.(*Collected); ok && len(indexes) == len(b.Messages) {
		r.body = body{collected.text, collected}
	} else {
		r.body.text = bulkBody(b, indexes)
	}
	answer, f := o.post(ctx, r, o.config.BulkTimeout)
	if f != nil {
		return nil, f
	}
	return wire.ParseBulkAnswer(answer), nil
}

// Create posts a topic or a consumer. It bypasses the circuit breaker: failures
// are not counted, and an open breaker does not block it. It returns nil if the
// server has created the topic or consumer.
func (o *Office) Create(ctx context.Context, path, topic string, resource any) *Failure {
	text, err := json.Marshal(resource)
	if err != nil {
		return &Failure{Class: Permanent, Cause: fmt.Errorf("encoding a request: %w", err)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.config.Timeout, errServerTimeout)
	defer cancel()
	_, f := o.roundTrip(ctx, path, topic, body{text: text})
	return f
}

// AnswerError is the URL of a health check whose response does not come from a
// Postoffice server.
type AnswerError string

// Error names the URL.
func (s AnswerError) Error() string {
	return "the answer to GET " + string(s) + " is not from a Postoffice server"
}

// Health queries the server's health and returns the status of the response,
// "ok" if the server is healthy. The error is the cause of a failure, or an
// AnswerError.
func (o *Office) Health(ctx context.Context) (status string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.config.Timeout, errServerTimeout)
	defer cancel()
	text, f := o.roundTrip(ctx, wire.HealthPath, "", body{})
	if f != nil {
		return "", f.Cause
	}
	var answer wire.HealthAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", AnswerError(o.templates[wire.HealthPath].URL.String())
	}
	return answer.Status, nil
}
