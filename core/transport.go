package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/avast/retry-go/v4"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Figures of the transport.
const (
	// maxAnswer bounds how much of an answer is read. The longest is the
	// answer to a bulk request: one id for each of at most 6,553 jobs.
	maxAnswer = 1 << 20
	// quickRetryDelay is the pause before the only quick retry.
	quickRetryDelay = 10 * time.Millisecond
	// timePerKB is how much longer a request may take for each full kB of its
	// body: the server needs up to 0.6 ms, and its network some, too.
	timePerKB = 2 * time.Millisecond
	// maxBody is the largest body of a request, in bytes.
	maxBody = 8_000_000
)

// errServerTimeout is the cause of a context that ended because the server
// had its time, unlike one that the caller ended.
var errServerTimeout = fmt.Errorf("server took too long: %w", context.DeadlineExceeded)

var (
	errNoMessages = errors.New("the request has no messages")
	errBarren     = errors.New("the server accepts no messages")
)

// scheduleLayout is the form of schedule_at: ISO 8601 with microseconds,
// which is what the server keeps, and an offset, which it insists on.
const scheduleLayout = "2006-01-02T15:04:05.000000Z07:00"

// transport speaks the server's HTTP API and classifies its answers.
type transport struct {
	client      *http.Client
	owned       *http.Transport // nil when the caller brought the client
	templates   map[string]*http.Request
	address     string // of the server, without userinfo
	timeout     time.Duration
	bulkTimeout time.Duration
	breaker     *breaker
	hearing     hearing
	observeSend func(context.Context, SendCall) (context.Context, func(error)) // nil for nobody
	// explainUnknownTopic completes the failure of a message whose topic the
	// server does not have.
	explainUnknownTopic func(topic string, f *failure)
}

func newTransport(cfg *settings, breaker *breaker) (*transport, error) {
	t := &transport{
		client:      cfg.httpClient,
		templates:   map[string]*http.Request{},
		address:     cfg.baseURL,
		timeout:     cfg.timeout,
		bulkTimeout: cfg.bulkTimeout,
		breaker:     breaker,
		observeSend: cfg.observer.Send,
	}
	if t.client == nil {
		t.owned = newHTTPTransport()
		t.client = &http.Client{Transport: t.owned}
	}
	for path, method := range map[string]string{
		wire.HealthPath:    http.MethodGet,
		wire.TopicsPath:    http.MethodPost,
		wire.ConsumersPath: http.MethodPost,
		wire.MessagePath:   http.MethodPost,
		wire.BulkPath:      http.MethodPost,
		wire.SchedulePath:  http.MethodPost,
	} {
		template, err := http.NewRequestWithContext(context.Background(), method, cfg.baseURL+path, nil)
		if err != nil {
			return nil, fmt.Errorf("postoffice: making a request: %w", err)
		}
		template.Header.Set("Accept", "application/json")
		template.Header.Set("User-Agent", "postoffice-go")
		if method == http.MethodPost {
			template.Header.Set("Content-Type", "application/json")
		}
		if cfg.authorization != "" {
			template.Header.Set("Authorization", cfg.authorization)
		}
		t.templates[path] = template
	}
	return t, nil
}

// request makes a request for a path. With a transport of our own it shares its
// URL and header with all others: http.Transport changes neither. An
// http.RoundTripper of the app's may, and gets its own.
func (t *transport) request(ctx context.Context, path string, body requestBody) *http.Request {
	request := t.templates[path].WithContext(ctx)
	if t.owned == nil {
		address := *request.URL
		request.URL, request.Header = &address, request.Header.Clone()
	}
	if body.data != nil {
		request.ContentLength = int64(len(body.data))
		request.Body = body.open()
		// With GetBody net/http takes another connection when the first one
		// turns out to be closed before anything was written.
		request.GetBody = func() (io.ReadCloser, error) { return body.open(), nil }
	}
	return request
}

// requestBody is the body of a request.
type requestBody struct {
	data []byte
	// readers counts who may still read data; nil when nobody asks.
	readers *atomic.Int32
}

// open makes a reader of the body. One that nobody counts is of a type that
// net/http knows to be in memory, and sends together with the headers.
func (b requestBody) open() io.ReadCloser {
	if b.readers == nil {
		return io.NopCloser(bytes.NewReader(b.data))
	}
	b.readers.Add(1)
	return &countedReader{Reader: bytes.NewReader(b.data), readers: b.readers}
}

// countedReader tells when it is closed. An http.RoundTripper closes a body
// when it is done with it, which may be after it has returned.
type countedReader struct {
	*bytes.Reader
	readers *atomic.Int32
	closed  atomic.Bool
}

// Close says that nothing is read any more.
func (r *countedReader) Close() error {
	if !r.closed.Swap(true) {
		r.readers.Add(-1)
	}
	return nil
}

// roundTrip sends one request and reads the body of its answer to the end, so
// that the connection is used again. It goes to the http.RoundTripper itself:
// an http.Client would follow redirects, and turn a POST into a GET on the way.
func (t *transport) roundTrip(ctx context.Context, path, topic string, body requestBody) ([]byte, error) {
	roundTripper := t.client.Transport
	if roundTripper == nil {
		roundTripper = http.DefaultTransport
	}
	request := t.request(ctx, path, body)
	before := t.hearing.listen(ctx, roundTripper)
	response, err := roundTripper.RoundTrip(request)
	if err != nil {
		f := t.networkFailure(ctx, topic, err)
		t.hearing.failed(before, f)
		return nil, f
	}
	t.hearing.answered()
	defer func() { _ = response.Body.Close() }()
	answer, err := readBody(response)
	if response.StatusCode == http.StatusCreated {
		// The status has said that the message is accepted. What is missing
		// of the body, job ids, is not worth delivering the message twice.
		return answer, nil
	}
	if err != nil {
		return nil, t.networkFailure(ctx, topic, err)
	}
	if request.Method == http.MethodGet && response.StatusCode == http.StatusOK {
		return answer, nil
	}
	return answer, classify(t.templates[path], response.StatusCode, response.Header, topic, answer)
}

// readBody reads the body of an answer to its end, if it is not too large.
func readBody(response *http.Response) ([]byte, error) {
	if length := response.ContentLength; 0 < length && length <= maxAnswer {
		answer := make([]byte, length)
		n, err := io.ReadFull(response.Body, answer)
		return answer[:n], err
	}
	return io.ReadAll(io.LimitReader(response.Body, maxAnswer))
}

// networkFailure describes a request without an answer.
func (t *transport) networkFailure(ctx context.Context, topic string, err error) *failure {
	f := &failure{class: transient, timedOut: isTimeout(err) || ctx.Err() != nil}
	f.interrupted = ctx.Err() != nil && !errors.Is(context.Cause(ctx), errServerTimeout)
	f.broken = !f.timedOut && connectionBroke(err)
	about := "no answer from " + t.address
	if topic != "" {
		about += fmt.Sprintf(" for topic %q", topic)
	}
	f.cause = fmt.Errorf("%s: %w", about, err)
	return f
}

// attempt sends a request that the circuit breaker counts. If the breaker doubts
// whether the server is well, the server is asked first.
func (t *transport) attempt(ctx context.Context, path string, call SendCall, body requestBody) ([]byte, error) {
	if f := t.askIfInDoubt(ctx, call.Topic); f != nil {
		return nil, f
	}
	answer, err := t.counted(func() ([]byte, error) { return t.send(ctx, path, call, body) })
	if f, ok := errors.AsType[*failure](err); ok && f.class == unknownTopic {
		t.explainUnknownTopic(call.Topic, f)
	}
	return answer, err
}

// counted sends a request that the circuit breaker counts.
func (t *transport) counted(send func() ([]byte, error)) (answer []byte, err error) {
	done, err := t.breaker.allow()
	if err != nil {
		return nil, err
	}
	// Deferred, for a probe that panics in the caller's own RoundTripper
	// would leave the breaker half-open for ever.
	outcome := errPanicked
	defer func() { done(outcome) }()
	answer, err = send()
	outcome = err
	return answer, err
}

// askIfInDoubt is ask, if the breaker wants the server to be asked.
func (t *transport) askIfInDoubt(ctx context.Context, topic string) *failure {
	if !t.breaker.asks() {
		return nil
	}
	defer t.breaker.asked()
	return t.ask(ctx, topic)
}

// ask asks the server whether it is well, by a bulk request without messages:
// the server answers it as any other, after a look at the topic in its database.
// So what fails beside it fails because of its messages. The answer is nil from
// a server that is well, or finds fault with the request alone.
func (t *transport) ask(ctx context.Context, topic string) *failure {
	if t.breaker.barren() {
		return &failure{class: transient, cause: errBarren, untried: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, errServerTimeout)
	defer cancel()
	_, err := t.counted(func() ([]byte, error) {
		answer, err := t.roundTrip(ctx, wire.BulkPath, topic, requestBody{data: emptyBulk(topic)})
		f := &failure{class: permanent, cause: errNoMessages}
		if err != nil {
			f = asFailure(err)
		}
		f.ofServer = true
		return answer, f
	})
	if f := asFailure(err); f.class == transient || f.class == misconfigured {
		return f
	}
	return nil
}

// timeFor returns how long a request with a body of so many bytes may take,
// with what is configured for small ones.
func timeFor(configured time.Duration, size int) time.Duration {
	return configured + time.Duration(size/1000)*timePerKB
}

// maxTime returns how long a request with messages takes at most.
func (t *transport) maxTime() time.Duration {
	return timeFor(max(t.timeout, t.bulkTimeout), maxBody)
}

// post sends a message request, with one quick retry where a second try can
// help at once: the connection broke, or a proxy had no server to ask. Both
// tries share the timeout, which grows with the body.
func (t *transport) post(ctx context.Context, path string, call SendCall, body requestBody, timeout time.Duration, tryOnce bool) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeFor(timeout, len(body.data)), errServerTimeout)
	defer cancel()
	answer, err := t.attempt(ctx, path, call, body)
	if err == nil || tryOnce || !quickRetryHelps(err) {
		return answer, err
	}
	tries := 0
	answer, _ = retry.DoWithData(func() ([]byte, error) {
		if tries++; tries > 1 {
			answer, err = t.attempt(ctx, path, call, body)
		}
		return answer, err
	},
		retry.Context(ctx), retry.Attempts(2), retry.LastErrorOnly(true), retry.RetryIf(quickRetryHelps),
		retry.Delay(quickRetryDelay), retry.MaxJitter(quickRetryDelay),
		retry.DelayType(retry.CombineDelay(retry.FixedDelay, retry.RandomDelay)),
	)
	// What the attempt said, rather than retry's own words when the time was
	// up while waiting.
	return answer, err
}

// quickRetryHelps tells whether to try once more without delay. A server
// that refuses connections, is too slow or asks for patience is left alone.
func quickRetryHelps(err error) bool {
	f := asFailure(err)
	if f.retryAfter > 0 || f.timedOut || f.ofServer {
		return false
	}
	switch f.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return f.broken
}

// postMessage posts one message and returns the ids of its jobs, nil when
// the answer did not tell them.
func (t *transport) postMessage(ctx context.Context, b batch, index int) ([]int64, error) {
	path := wire.MessagePath
	payload, attributes := b.payloads[index], b.attributesOf(index)
	body := make([]byte, 0, len(b.topic)+len(attributes)+len(payload)+128)
	body = appendTopic(body, b.topic)
	body = append(body, `,"payload":`...)
	body = append(body, payload...)
	body = append(body, `,"attributes":`...)
	body = append(body, attributes...)
	if b.scheduled() {
		path = wire.SchedulePath
		body = append(body, `,"schedule_at":"`...)
		body = b.deliverAt.UTC().AppendFormat(body, scheduleLayout)
		body = append(body, '"')
	}
	body = append(body, '}')
	answer, err := t.post(ctx, path, SendCall{Topic: b.topic, Messages: 1, Origins: b.origins}, requestBody{data: body}, t.timeout, b.tryOnce)
	if err != nil {
		return nil, err
	}
	return wire.ParseMessageAnswer(answer), nil
}

// postBulk posts the payloads with the given indexes in one request and
// returns the ids of their jobs, nil when the answer did not tell them.
func (t *transport) postBulk(ctx context.Context, b batch, indexes []int) ([]int64, error) {
	body := requestBody{b.bulk, b.readers}
	if b.bulk == nil || len(indexes) < len(b.payloads) {
		body = requestBody{data: b.bulkBody(indexes)}
	}
	answer, err := t.post(ctx, wire.BulkPath, SendCall{Topic: b.topic, Messages: len(indexes), Origins: b.origins}, body, t.bulkTimeout, b.tryOnce)
	if err != nil {
		return nil, err
	}
	return wire.ParseBulkAnswer(answer), nil
}

// bulkBody makes the body of a bulk request.
func (b batch) bulkBody(indexes []int) []byte {
	size := len(b.topic) + len(b.attributes) + 128
	for _, index := range indexes {
		size += len(b.payloads[index]) + 1
	}
	body := appendBulkHead(make([]byte, 0, size), b.topic)
	for _, index := range indexes {
		body = appendBulkPayload(body, b.payloads[index])
	}
	return appendBulkTail(body, b.attributes)
}

// appendBulkHead begins the body of a bulk request, appendBulkPayload adds a
// payload, and appendBulkTail ends it; there must be at least one payload.
func appendBulkHead(body []byte, topic string) []byte {
	return append(appendTopic(body, topic), `,"payload":[`...)
}

func appendBulkPayload(body, payload []byte) []byte {
	return append(append(body, payload...), ',')
}

func appendBulkTail(body, attributes []byte) []byte {
	body = append(body[:len(body)-len(",")], `],"attributes":`...)
	return append(append(body, attributes...), '}')
}

// emptyBulk makes the body of a bulk request without payloads.
func emptyBulk(topic string) []byte {
	return append(appendBulkHead(nil, topic), `],"attributes":{}}`...)
}

// appendTopic begins a message's object with its topic.
func appendTopic(body []byte, topic string) []byte {
	return appendJSONString(append(body, `{"topic":`...), topic)
}

// create posts a topic or a consumer. Failing that it does not count for
// the circuit breaker, nor does an open breaker keep it from trying.
func (t *transport) create(ctx context.Context, path, topic string, resource any) error {
	body, err := json.Marshal(resource)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, errServerTimeout)
	defer cancel()
	_, err = t.roundTrip(ctx, path, topic, requestBody{data: body})
	return err
}

// health asks the server how it is.
func (t *transport) health(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, errServerTimeout)
	defer cancel()
	body, err := t.roundTrip(ctx, wire.HealthPath, "", requestBody{})
	if err != nil {
		return fmt.Errorf("%s%w", prefix, unwrapFailure(err))
	}
	var answer wire.HealthAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%w: its answer to GET %s is not the JSON of a Postoffice server", ErrUnhealthy, t.templates[wire.HealthPath].URL)
	}
	if answer.Status != "ok" {
		return fmt.Errorf("%w: status %q", ErrUnhealthy, answer.Status)
	}
	return nil
}

// unwrapFailure takes the cause out of a failure, for the caller's eyes.
func unwrapFailure(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.cause
	}
	return err
}
