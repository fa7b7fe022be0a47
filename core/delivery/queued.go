package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Queued is [Handler] with an inbox between the server and the function: the
// http.Handler checks and decodes a message, stores it in the inbox and answers 204
// after the commit. A worker of the inbox calls the function afterwards. A copy of a
// message that is in the store, or was handled within [InboxOptions].Keep, is
// answered with 204 as well and not stored. If the message cannot be stored, the
// answer is 503, and the server posts it again.
//
// The function is called until it returns nil. After an error or a panic, it is
// called again after a pause; after [Discard], or [InboxOptions].MaxAttempts calls,
// the message becomes dead. The function may be called more than once for a message,
// in the worst case concurrently, unless [DoneTx] makes the removal of the message
// part of its transaction.
//
// The options are those of Handler with these exceptions: the inbox replaces
// [WithDeduplication] and [WithLease]; [InboxOptions] replace [WithKeep] and
// [WithObserver]; instead of [WithLatest], the function compares the version with
// the stored one, in the transaction of DoneTx, and returns nil for an older one.
// [WithScope] distinguishes consumers that get copies of the same messages; it
// defaults to the name.
//
// Queued panics if an argument is invalid, which is a mistake in the program;
// [NewQueued] returns an error instead.
func Queued[T any](inbox *Inbox, handle func(ctx context.Context, m Message[T]) error, options ...Option) http.Handler {
	handler, err := NewQueued(inbox, handle, options...)
	if err != nil {
		panic(err)
	}
	return handler
}

// NewQueued is [Queued] for options from outside the program. The error names the
// option.
func NewQueued[T any](inbox *Inbox, handle func(ctx context.Context, m Message[T]) error, options ...Option) (http.Handler, error) {
	if inbox == nil {
		return nil, errors.New("delivery: the inbox is nil")
	}
	h, err := newEndpoint(handle, true, options)
	if err != nil {
		return nil, err
	}
	if h.name == "" {
		h.name = h.topic
	}
	switch {
	case h.name == "":
		return nil, errors.New("delivery: the messages of the inbox have no name: set WithConsumer, WithTopic or WithName")
	case h.deduplicator != nil:
		return nil, errors.New("delivery: WithDeduplication: the inbox deduplicates by itself")
	case h.lease != DefaultLease:
		return nil, errors.New("delivery: WithLease: the leases of the inbox follow from InboxOptions.Timeout")
	case h.keep != DefaultKeep:
		return nil, errors.New("delivery: WithKeep: set InboxOptions.Keep")
	case h.timeout > inbox.options.Timeout:
		return nil, fmt.Errorf("delivery: WithTimeout: %s is more than InboxOptions.Timeout, %s", h.timeout, inbox.options.Timeout)
	}
	if h.scope == "" {
		h.scope = h.name
	}
	h.inbox, h.observer = inbox, inbox.options.Observer
	if err := inbox.handlers.add(h.name, h); err != nil {
		return nil, err
	}
	return h, nil
}

// WithName sets the name under which a handler of [Queued] stores its messages. It
// is the Topic of the records in the store, and tells the processes that share the
// store which function a message is for: do not change it when the program changes.
// Workers are shared between names. Set it if an inbox has several handlers for a
// topic. Defaults to the topic.
func WithName(name string) Option {
	return func(s *settings) error {
		switch {
		case name == "":
			return errors.New("WithName: name is empty")
		case len(name) > maxName:
			return fmt.Errorf("WithName: name has %d bytes, more than %d", len(name), maxName)
		case !utf8.ValidString(name) || hasNUL(name):
			return errors.New("WithName: name is not UTF-8 without NUL")
		}
		s.name = name
		return nil
	}
}

// maxName is the maximum length of a name in bytes.
const maxName = 255

// deliveryID is the attribute of a stored message with the server's id of the
// delivery. The function does not see it.
const deliveryID = "_postoffice_delivery"

// enqueue stores a message and acknowledges it.
func (h *endpoint) enqueue(w http.ResponseWriter, r *http.Request, e *envelope) {
	ctx := r.Context()
	inserted, err := h.store(r, e)
	if err != nil {
		h.refuse(ctx, w, e, NotStored, http.StatusServiceUnavailable, err)
		return
	}
	event := Event{Topic: h.topic, Name: h.name}
	if inserted {
		h.inbox.options.Observer.Stored(event)
	} else {
		h.inbox.options.Observer.Duplicate(event)
	}
	w.WriteHeader(http.StatusNoContent)
}

// store stores a message unless a copy exists.
func (h *endpoint) store(r *http.Request, e *envelope) (inserted bool, err error) {
	if err := h.inbox.enter(); err != nil {
		return false, err
	}
	defer h.inbox.storing.Done()
	id, err := message.NewID()
	if err != nil {
		return false, err
	}
	key, _ := h.keyOf(r, e) // a message without an id has no known copies
	attributes, err := storedAttributes(e)
	if err != nil {
		return false, err
	}
	return h.inbox.insert(r.Context(), outbox.Record{
		ID: id, DedupKey: storedKey(key), Topic: h.name, Payload: e.payload, Attributes: attributes,
	})
}

// storedKey returns a key that stores accept.
func storedKey(key string) string {
	if len(key) <= outbox.MaxIDLength && utf8.ValidString(key) && !hasNUL(key) {
		return key
	}
	digest := sha256.Sum256([]byte(key))
	return "sha256 " + hex.EncodeToString(digest[:])
}

func hasNUL(text string) bool {
	for i := range len(text) {
		if text[i] == 0 {
			return true
		}
	}
	return false
}

// storedAttributes returns the attributes of a message with the id of its delivery.
func storedAttributes(e *envelope) (json.RawMessage, error) {
	attributes := make(map[string]string, len(e.attributes)+1)
	for name, value := range e.attributes {
		attributes[name] = value
	}
	delete(attributes, deliveryID)
	if e.id != "" {
		attributes[deliveryID] = e.id
	}
	return json.Marshal(attributes)
}

// stored returns the message of a record.
func stored(record outbox.Record) (*envelope, error) {
	e := &envelope{payload: record.Payload, received: record.CreatedAt, attributes: map[string]string{}}
	if err := json.Unmarshal(record.Attributes, &e.attributes); err != nil {
		return nil, decodeError("attributes", err)
	}
	e.id = e.attributes[deliveryID]
	delete(e.attributes, deliveryID)
	return e, nil
}
