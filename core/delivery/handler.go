package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Handler returns an http.Handler for a function that handles messages whose payload
// is decoded into a T, such as a struct, a map or json.RawMessage. Numbers for which T
// specifies no type, as in a map[string]any, are of type [encoding/json.Number]. If the
// function returns nil, the message is acknowledged; after an error the server delivers
// it again. The package documentation lists all answers.
//
// Handler panics, like [http.Handle], if the function is nil or an option is
// invalid, which is a mistake in the program; [New] returns an error instead.
func Handler[T any](handle func(ctx context.Context, m Message[T]) error, options ...Option) http.Handler {
	handler, err := New(handle, options...)
	if err != nil {
		panic(err)
	}
	return handler
}

// New is [Handler] for options from outside the program, such as a consumer's
// target. The error names the option.
func New[T any](handle func(ctx context.Context, m Message[T]) error, options ...Option) (http.Handler, error) {
	h, err := newEndpoint(handle, false, options)
	if err != nil {
		return nil, err
	}
	if h.name != "" {
		return nil, errors.New("delivery: WithName: the messages of this handler are not stored; use Queued")
	}
	return h, nil
}

// newEndpoint creates the handler of a function, or the endpoint for an inbox.
func newEndpoint[T any](handle func(ctx context.Context, m Message[T]) error, queued bool, options []Option) (*endpoint, error) {
	if handle == nil {
		return nil, errors.New("delivery: the function is nil")
	}
	settings, err := configure(queued, options)
	if err != nil {
		return nil, err
	}
	switch {
	case !queued:
		if err := settings.checkTimeout(); err != nil {
			return nil, fmt.Errorf("delivery: %w", err)
		}
	case settings.latest != nil:
		return nil, errors.New("delivery: WithLatest: an inbox handles every message; " +
			"in the function, compare the version with the stored one, in the transaction of DoneTx")
	}
	identify, err := latestOf[T](&settings)
	if err != nil {
		return nil, fmt.Errorf("delivery: %w", err)
	}
	log := loglimit.NewLogger(settings.logger, "postoffice: ")
	settings.observer = settings.observer.guarded(func(doing string, call func() error) error { return guard(log, doing, call) })
	return &endpoint{
		settings: settings,
		reporter: reporter{logger: settings.logger, onError: settings.onError},
		decode: func(e *envelope) (func(context.Context) error, error) {
			m := Message[T]{ID: e.id, Topic: settings.topic, Attributes: e.attributes, Received: e.received}
			if err := decodePayload(e.payload, &m.Payload, settings.strict); err != nil {
				return nil, err
			}
			e.latestKey, e.version = identify(m)
			return func(ctx context.Context) error { return handle(ctx, m) }, nil
		},
	}, nil
}

// endpoint is the part of a handler that does not depend on T.
type endpoint struct {
	settings
	reporter
	// decode decodes the payload and returns the call of the function.
	decode func(e *envelope) (func(context.Context) error, error)
	// inbox stores the messages; nil if they are handled at once.
	inbox *Inbox
}

// envelope is a message as received.
type envelope struct {
	id         string
	path       string // the path of the request
	body       []byte
	payload    []byte
	attributes map[string]string
	received   time.Time
	// latestKey and version are those of WithLatest; the key is empty for a message
	// without one.
	latestKey string
	version   int64
}

// ServeHTTP receives a message from the server.
func (h *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	e := &envelope{id: r.Header.Get(wire.MessageIDHeader), path: r.URL.Path, received: time.Now()}
	if status, err := h.read(w, r, e); err != nil {
		h.refuse(ctx, w, e, Refused, status, err)
		return
	}
	call, err := h.open(e)
	if err != nil {
		h.notDecoded(ctx, w, e, err)
		return
	}
	if h.inbox != nil {
		h.enqueue(w, r, e)
		return
	}
	extended, err := h.extend(ctx, e)
	if err != nil {
		h.refuse(ctx, w, e, kindOf(err), http.StatusInternalServerError, err)
		return
	}
	ctx = extended
	if h.deduplicator == nil {
		h.settle(ctx, w, e, h.handle(ctx, e, h.timeout, call))
		return
	}
	h.deduplicate(ctx, w, r, e, call)
}

// read checks a request and reads its body, or returns the status of the refusal.
func (h *endpoint) read(w http.ResponseWriter, r *http.Request, e *envelope) (status int, err error) {
	if !h.credentials.present(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="postoffice consumer", charset="UTF-8"`)
		return http.StatusUnauthorized, errors.New("credentials are missing or wrong")
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, errors.New("method is not POST")
	}
	if !isJSON(r.Header) {
		return http.StatusUnsupportedMediaType, errors.New("body is not application/json")
	}
	if r.ContentLength > h.maxBytes {
		w.Header().Set("Connection", "close") // so that net/http does not read the body
		return http.StatusRequestEntityTooLarge, fmt.Errorf("body has %d bytes, more than %d", r.ContentLength, h.maxBytes)
	}
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, maxGrow)))
	_, err = body.ReadFrom(http.MaxBytesReader(w, r.Body, h.maxBytes))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, fmt.Errorf("body has more than %d bytes", h.maxBytes)
	}
	if err != nil {
		return http.StatusBadRequest, fmt.Errorf("body cannot be read: %w", err)
	}
	e.body = body.Bytes()
	return 0, nil
}

// maxGrow is how many bytes are allocated for a body before any of it has arrived.
const maxGrow = 1 << 20

// isJSON reports whether a body is uncompressed JSON.
func isJSON(header http.Header) bool {
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// open decodes a message.
func (h *endpoint) open(e *envelope) (call func(context.Context) error, err error) {
	defer catch(&err) // a panic of a type's own UnmarshalJSON
	p, err := split(e.body, h.keepMetadata)
	if err != nil {
		return nil, err
	}
	if e.attributes, err = p.merge(); err != nil {
		return nil, err
	}
	e.payload = p.payload
	return h.decode(e)
}

// extend returns the context for a message.
func (h *endpoint) extend(ctx context.Context, e *envelope) (extended context.Context, err error) {
	if h.context == nil {
		return ctx, nil
	}
	defer catch(&err)
	if extended = h.context(ctx, e.attributes); extended == nil {
		return nil, errors.New("the function of WithContext has returned nil")
	}
	return extended, nil
}

// catch converts a panic to an error, except for http.ErrAbortHandler. Defer it.
func catch(err *error) {
	switch value := recover(); value {
	case nil:
	case http.ErrAbortHandler:
		panic(value)
	default:
		*err = &PanicError{Value: value, Stack: debug.Stack()}
	}
}

// handle calls the function for a message and notifies the observer. The context
// ends after within, unless that is zero.
func (h *endpoint) handle(ctx context.Context, e *envelope, within time.Duration, call func(context.Context) error) error {
	return run(ctx, within, func(ctx context.Context) error {
		handling, end := h.observer.Handle(ctx, HandleCall{Topic: h.topic, ID: e.id, Attributes: e.attributes})
		begun, err := time.Now(), errAborted
		defer func() {
			took := time.Since(begun)
			end(err)
			h.observer.Handled(Event{Topic: h.topic, Duration: took}.ended(err, errors.Is(ctx.Err(), context.DeadlineExceeded)))
		}()
		err = run(handling, 0, call)
		return err
	})
}

// errAborted is the observer's error for a function that has aborted the connection
// or ended its goroutine.
var errAborted = errors.New("the function has aborted the request")

// run calls a function. The context ends after within, unless that is zero.
func run(ctx context.Context, within time.Duration, call func(context.Context) error) (err error) {
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	defer catch(&err)
	return call(ctx)
}

// notDecoded answers a message that could not be decoded.
func (h *endpoint) notDecoded(ctx context.Context, w http.ResponseWriter, e *envelope, err error) {
	if kindOf(err) == Panicked {
		h.refuse(ctx, w, e, Panicked, http.StatusInternalServerError, err)
		return
	}
	status := http.StatusBadRequest
	if h.undecodable != nil {
		status = http.StatusNoContent
		m := Undecodable{ID: e.id, Topic: h.topic, Body: e.body, Err: err, Received: e.received}
		failed := run(ctx, h.timeout, func(ctx context.Context) error { return h.undecodable(ctx, m) })
		if failed != nil {
			status = http.StatusInternalServerError
			err = fmt.Errorf("%w; WithUndecodable: %w", err, failed)
		}
	}
	h.refuse(ctx, w, e, NotDecoded, status, err)
}

// deduplicate handles a message unless it was handled or is being handled.
func (h *endpoint) deduplicate(ctx context.Context, w http.ResponseWriter, r *http.Request, e *envelope, call func(context.Context) error) {
	state, claimed, err := h.begin(ctx, r, e)
	switch {
	case errors.Is(err, errNoID):
		h.refuse(ctx, w, e, Refused, http.StatusBadRequest, err)
		return
	case err != nil:
		h.refuse(ctx, w, e, NotDeduplicated, http.StatusServiceUnavailable, err)
		return
	case state == Handled:
		if e.latestKey != "" {
			h.observer.Skipped(Event{Topic: h.topic})
		} else {
			h.observer.Duplicate(Event{Topic: h.topic})
		}
		w.WriteHeader(http.StatusNoContent)
		return
	case state == Running:
		h.observer.Busy(Event{Topic: h.topic})
		running := "a copy of the message is being handled"
		if e.latestKey != "" {
			running = "a message of the same key is being handled"
		}
		http.Error(w, running, http.StatusConflict)
		return
	}
	returned := false
	defer func() {
		if !returned { // the function aborts the connection or has ended the goroutine
			_ = claimed.abort(ctx)
		}
	}()
	within := h.lease
	if h.timeout > 0 {
		within = min(within, h.timeout)
	}
	err = h.handle(context.WithValue(ctx, claimKey{}, claimed), e, within, call)
	returned = true
	if acknowledges(err) {
		if failed := claimed.done(ctx); failed != nil { // the function has succeeded: no retry
			h.report(ctx, h.problem(e, NotDeduplicated, http.StatusNoContent, failed))
		}
	} else if failed := claimed.abort(ctx); failed != nil { // copies have to wait for the end of the lease
		h.report(ctx, h.problem(e, NotDeduplicated, http.StatusInternalServerError, failed))
	}
	h.settle(ctx, w, e, err)
}

// acknowledges reports whether a message is acknowledged after an error.
func acknowledges(err error) bool { return err == nil || kindOf(err) == Discarded }

// settle answers a message after the call of the function.
func (h *endpoint) settle(ctx context.Context, w http.ResponseWriter, e *envelope, err error) {
	status := http.StatusInternalServerError
	if acknowledges(err) {
		status = http.StatusNoContent
	}
	if err == nil {
		w.WriteHeader(status)
		return
	}
	h.answer(ctx, w, e, kindOf(err), status, err)
}

// refuse answers a message without a call of the function.
func (h *endpoint) refuse(ctx context.Context, w http.ResponseWriter, e *envelope, kind Kind, status int, err error) {
	h.observer.Refused(Event{Topic: h.topic, Name: h.name, Kind: kind, Err: err})
	h.answer(ctx, w, e, kind, status, err)
}

// answer reports a problem and answers with its kind, and with the name of an
// unexpected field, so that the publisher can fix it.
func (h *endpoint) answer(ctx context.Context, w http.ResponseWriter, e *envelope, kind Kind, status int, err error) {
	h.report(ctx, h.problem(e, kind, status, err))
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	text := kind.String()
	if strict, ok := errors.AsType[*DecodeError](err); ok && strict.unknown {
		text += ": " + strict.Field + " " + strict.Reason
	}
	http.Error(w, text, status)
}

func (h *endpoint) problem(e *envelope, kind Kind, status int, err error) Problem {
	return Problem{Kind: kind, Topic: h.topic, ID: e.id, Path: e.path, Status: status, Err: err}
}
