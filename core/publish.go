package core

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Receipt describes where accepted messages are.
type Receipt struct {
	// IDs are the outbox ids of the stored messages, in the order of their
	// payloads. The list is empty if all messages were delivered or queued.
	// With WithMessageID, it has the ids of all messages. With WithDedupKey, it
	// has the id of the message in the outbox that has the key.
	IDs []string
	// State is Delivered if all messages were delivered, otherwise the state of
	// the remaining messages. It is Unknown when an error is returned.
	State State
	// Jobs are the ids of the server's jobs for the delivered messages, in no
	// particular order: one per message and HTTP consumer, and one per chunk of
	// a bulk and Pub/Sub consumer. With State Delivered, an empty non-nil list
	// means that the topic has no consumers and the server discarded the
	// messages. Nil means that the server did not report jobs, or that calls
	// shared the request; see Config.PostsPerTopic.
	Jobs []int64
}

// Publish posts a message to a topic. It returns nil only when the server has
// responded with 201 or the message is committed in the outbox. A message that
// the server refuses permanently is stored as dead. Without an outbox, every
// failure is returned.
//
// The payload is any value that encoding/json encodes as an object: a struct, a
// map with string keys, a json.RawMessage. It must not be a string, a []byte or
// nil, must not have a top-level key "_postoffice" ([MetadataKey]), and may be
// nested up to 1000 levels deep. Payload, attributes and topic together are
// limited to 7,000,000 bytes, and the topic to 255 characters.
//
// The payload is encoded by encoding/json, or by Config.Marshal: time.Time
// becomes RFC 3339 text, time.Duration a number of nanoseconds, []byte base64
// text, and big.Int a number; decimal types use their own MarshalJSON or
// MarshalText. Integers are exact and may have 5,000 digits. The server
// converts other numbers to double precision, so encode exact decimals as
// strings. HTTP consumers do not receive a payload's own key "attributes": the
// server replaces it with the message's attributes.
//
// Concurrent calls share requests, but each call has its own result; see
// Config.PostsPerTopic.
//
// The call takes at most Config.Timeout, which grows by 2 s per MB of message,
// plus up to 5 s to store the message. If the server does not know a topic of
// Config.Topics, the client creates the topic and sends the message again, at
// most once in 10 s; each of these two requests may take as long again. The
// deadline of ctx shortens the call. Cancellation of ctx does not end it: when
// the caller of a handler disconnects, the message is still either delivered or
// stored. While the outbox is full, the call waits for capacity until ctx ends,
// and then returns ErrOutboxFull. It does not wait for a message that exceeds
// the bound of the outbox by itself, and returns [outbox.ErrNeverFits].
//
// Errors: ErrInvalidMessage if the message can never be delivered, ErrClosed
// after Stop, otherwise ErrNotAccepted, which wraps the cause: a
// *ResponseError, a network error or an outbox error.
func (c *Client) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return c.publish(ctx, call{topic: topic, payload: payload, options: options})
}

// PublishBulk posts many messages to a topic. Each payload becomes a separate
// message, and all have the same attributes. A request carries up to
// Config.BulkLimit payloads; the server keeps their order when it accepts the
// request. Nothing is sent unless every payload is valid. An empty list of
// payloads is not an error: the state is Delivered.
//
// Messages that the server does not accept are stored in the outbox as by
// Publish; one bad message does not hold back the others. With an outbox, no
// request begins later than Config.BulkTimeout after the first one, and unsent
// messages are stored. The call therefore takes at most twice BulkTimeout, plus
// 2 s per MB of the last request. Without an outbox, the server may have
// accepted some of the messages when an error is returned: the Receipt has
// their Jobs, and the [*PartialError] lists the payloads that were not
// accepted.
func (c *Client) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	return c.publish(ctx, call{topic: topic, payloads: payloads, bulk: true, options: options})
}

// PublishTx publishes a message as part of the caller's transaction: the
// message is delivered if and only if the transaction commits. PublishTx
// inserts the message into the outbox, which must be an [outbox.TxStore] in the
// database of the transaction, such as the stores of core/outbox/sqlstore. Pass
// a *sql.Tx unchanged, and wrap a pgx transaction in sqlstore.PgxTx.
// WithDedupKey requires a transaction that can be queried for the message that
// has the key: with sqlstore, a PgxTx or a transaction that has the
// QueryContext method of *sql.Tx. For code that calls Publish and PublishBulk,
// [Client.WithTx] puts the transaction into a context instead.
//
// The Receipt has the state Stored and the id of the message. Both are valid
// once the caller has committed; the client never commits or rolls back. After
// an error nothing is published and the caller must roll back, because
// PostgreSQL allows nothing else. The relay of this client finds the message
// within milliseconds if the commit follows soon after the call, otherwise
// within two seconds. The relays of other processes find it within two seconds.
//
// The mode of a request has no effect. The call does not wait for capacity in a
// full outbox, because it may hold locks: it returns ErrOutboxFull.
//
// Errors: ErrInvalidMessage if the message can never be delivered, ErrClosed
// after Stop, ErrNoTransactions if there is no outbox or it cannot join
// transactions, otherwise ErrNotAccepted, which wraps the database error.
func (c *Client) PublishTx(ctx context.Context, tx outbox.Tx, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return c.publish(ctx, call{topic: topic, payload: payload, tx: tx, inTx: true, options: options})
}

func (c *Client) publish(ctx context.Context, k call) (Receipt, error) {
	if ctx == nil {
		return Receipt{}, invalid(fieldError("ctx", "is nil"))
	}
	if err := c.present(); err != nil {
		return Receipt{}, err
	}
	return c.pipeline.publish(ctx, k)
}

// PartialError lists the payloads of a PublishBulk that were not accepted. It
// wraps the reasons.
type PartialError struct {
	// Indexes are the positions in the call's payloads of the messages that
	// were neither delivered nor stored.
	Indexes []int
	// Err is the reason.
	Err error
}

// Error returns the number of payloads that were not accepted and the reason.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%d payloads: %v", len(e.Indexes), e.Err)
}

// Unwrap returns the reasons.
func (e *PartialError) Unwrap() error { return e.Err }

// Health queries the server's health. It returns nil if the server reports that
// it is healthy, ErrUnhealthy if the server reports that it is not, an error
// that wraps a *ResponseError for any other response, and an error that wraps
// the network error if there is no response. It takes at most Config.Timeout.
//
// Use it for dashboards and for deployments that wait for the server. For the
// probes of an orchestrator use [Client.Ready], because an app with an outbox
// works while the server is down. A healthy response only means that the server
// responds; the server does not check its database.
func (c *Client) Health(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	status, err := c.office.Health(ctx)
	_, strange := errors.AsType[office.AnswerError](err)
	switch {
	case strange:
		return fmt.Errorf("%w: %w", ErrUnhealthy, err)
	case err != nil:
		return fmt.Errorf("%s%w", prefix, err)
	case status != "ok":
		return fmt.Errorf("%w: status %q", ErrUnhealthy, status)
	}
	return nil
}
