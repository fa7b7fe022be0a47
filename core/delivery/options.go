package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// Defaults of the options.
const (
	// DefaultMaxBytes is the largest body that is read: more than the server
	// takes from a publisher, which is a little over 8,000,000 bytes, because
	// it writes numbers anew.
	DefaultMaxBytes = 9_000_000
	// DefaultLease is how long one copy of a message may be handled before
	// another is.
	DefaultLease = time.Minute
	// DefaultKeep is how long it is remembered that a message was handled.
	DefaultKeep = 24 * time.Hour
)

// settings is what the options set.
type settings struct {
	topic string
	// queued means that an inbox stores the messages, under the name.
	queued      bool
	name        string
	credentials *credentials
	maxBytes    int64
	strict      bool
	// keepMetadata leaves the metadata in the payload.
	keepMetadata bool

	timeout     time.Duration  // zero for none
	consumer    *core.Consumer // nil for none
	context     func(ctx context.Context, attributes map[string]string) context.Context
	undecodable func(ctx context.Context, m Undecodable) error
	onError     func(ctx context.Context, p Problem)
	logger      *slog.Logger
	observer    Observer

	deduplicator Deduplicator // nil for none
	scope        string
	lease, keep  time.Duration
	latest       any // a latest[T], or nil
}

// Option changes a default of [Handler] or [New]. Of two that set the same,
// the later counts.
type Option func(*settings) error

// configure applies options to the defaults.
func configure(queued bool, options []Option) (settings, error) {
	s := settings{queued: queued, maxBytes: DefaultMaxBytes, logger: slog.Default(), lease: DefaultLease, keep: DefaultKeep}
	for i, option := range options {
		if option == nil {
			return settings{}, fmt.Errorf("delivery: options[%d] is nil", i)
		}
		if err := option(&s); err != nil {
			return settings{}, fmt.Errorf("delivery: %w", err)
		}
	}
	if s.timeout == 0 && s.consumer != nil && !queued {
		s.timeout = s.consumer.Timeout
	}
	return s, nil
}

// serverTimeout is for how long the server waits for a consumer whose Timeout is
// zero.
const serverTimeout = 5 * time.Second

// checkTimeout returns an error if the function may take longer than the server
// waits for its answer.
func (s *settings) checkTimeout() error {
	if s.consumer == nil {
		return nil
	}
	if waits := cmp.Or(s.consumer.Timeout, serverTimeout); s.timeout > waits {
		return fmt.Errorf("WithTimeout: %v is more than the %v for which the server waits for the consumer of %q, and after which it posts the message again: "+
			"raise core.Consumer.Timeout, or take less time", s.timeout, waits, s.consumer.Topic)
	}
	return nil
}

// positive says that a duration is not.
func positive(option string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: %v is not positive", option, d)
	}
	return nil
}

// WithTopic sets Message.Topic, which the server does not tell. It is also
// what problems are reported with.
func WithTopic(topic string) Option {
	return func(s *settings) error {
		s.topic = topic
		return nil
	}
}

// WithConsumer takes the topic from the consumer as it is configured, the
// credentials from the userinfo of its Target, as [WithCredentials] does, and
// for how long the server waits from its Timeout. Unless [WithTimeout] sets an
// earlier one, that is the end of the function's context; a zero Timeout, which
// the server takes for 5 s, sets none. Neither applies to [Queued], whose
// function runs after the answer. A Target without userinfo leaves what other
// options have set.
func WithConsumer(consumer core.Consumer) Option {
	return func(s *settings) error {
		credentials, err := targetCredentials(consumer)
		if err != nil {
			return fmt.Errorf("WithConsumer: %w", err)
		}
		if consumer.Timeout < 0 {
			return errors.New("WithConsumer: the Timeout is negative")
		}
		s.topic = consumer.Topic
		if credentials != nil {
			s.credentials = credentials
		}
		s.consumer = &consumer
		return nil
	}
}

// WithCredentials demands Basic credentials, which the server presents when
// they are the userinfo of the consumer's target. Without them the answer is
// 401. The user must not be empty. Defaults to none: whoever reaches the
// handler can deliver messages.
func WithCredentials(user, password string) Option {
	return func(s *settings) error {
		if user == "" {
			return errors.New("WithCredentials: user is empty")
		}
		s.credentials = newCredentials(user, password)
		return nil
	}
}

// WithMaxBytes bounds the body that is read; a larger one is answered with
// 413. Defaults to [DefaultMaxBytes].
func WithMaxBytes(n int64) Option {
	return func(s *settings) error {
		if n <= 0 {
			return fmt.Errorf("WithMaxBytes: %d is not positive", n)
		}
		s.maxBytes = n
		return nil
	}
}

// WithStrict makes a field of the payload that T does not have an error, as
// if the message could not be decoded. The answer and the log name the field and
// leave out its value. By default such fields are passed over.
func WithStrict() Option {
	return func(s *settings) error {
		s.strict = true
		return nil
	}
}

// WithoutMetadata leaves the key "_postoffice" ([core.MetadataKey]) in the
// payload and merges nothing into the attributes: for messages of publishers
// other than this module, whose payloads may be filled in by anybody, or which
// use the key for something of their own. With [WithStrict] T needs a field for
// it. By default metadata are merged, see the package's documentation.
func WithoutMetadata() Option {
	return func(s *settings) error {
		s.keepMetadata = true
		return nil
	}
}

// WithTimeout ends the function's context after a time. A little less than
// the consumer's Timeout, 5 s by default, leaves time for an answer that the
// server still hears. More than the Timeout of the consumer of [WithConsumer] is
// an error of [New]: the server would hang up before the function has ended, and
// post the message again and again. By default the context ends when the server
// hangs up, and with deduplication when the lease ends.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		s.timeout = d
		return positive("WithTimeout", d)
	}
}

// WithContext lets a function add to the context of each message, such as the
// trace that the publisher has put into the attributes or metadata
// "traceparent" and "tracestate" (W3C Trace Context). It must return ctx or a context made of
// it, and must not change the attributes.
func WithContext(add func(ctx context.Context, attributes map[string]string) context.Context) Option {
	return func(s *settings) error {
		s.context = add
		return nil
	}
}

// WithUndecodable gives messages that cannot be decoded to a function: nil
// acknowledges the message, so the function should have put it where a person
// finds it; an error answers 500, and the server posts it again. Each is
// reported all the same. By default they are answered with 400, so the server
// keeps them.
//
// Bodies that are too large or have another content type are not given to it.
func WithUndecodable(take func(ctx context.Context, m Undecodable) error) Option {
	return func(s *settings) error {
		s.undecodable = take
		return nil
	}
}

// WithOnError has a function told of every problem, on the way to the answer:
// it must be quick and safe for concurrent use. Defaults to none; the log
// tells of problems in any case.
func WithOnError(tell func(ctx context.Context, p Problem)) Option {
	return func(s *settings) error {
		s.onError = tell
		return nil
	}
}

// WithLogger sets the logger of problems: no payloads and no credentials, but
// the errors of the function in its own words. Defaults to slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) error {
		if logger == nil {
			return errors.New("WithLogger: logger is nil")
		}
		s.logger = logger
		return nil
	}
}

// WithDeduplication has each message handled once, as far as the deduplicator
// remembers. See the package's documentation.
func WithDeduplication(deduplicator Deduplicator) Option {
	return func(s *settings) error {
		if typednil.Is(deduplicator) {
			return errors.New("WithDeduplication: deduplicator is nil")
		}
		s.deduplicator = deduplicator
		return nil
	}
}

// WithScope names the consumer for deduplication: copies of a message in
// different scopes are all handled, because several consumers may get the
// same message. Defaults to the host and path of the request, which are those
// of the consumer's target. Set it where a proxy gives instances of the app
// different host names.
func WithScope(name string) Option {
	return func(s *settings) error {
		if name == "" {
			return errors.New("WithScope: name is empty")
		}
		s.scope = name
		return nil
	}
}

// WithLease sets for how long no other copy of a message is handled after one
// was begun and has not ended, as in a crash. It must be longer than the
// function takes; the function's context ends with it. Defaults to
// [DefaultLease].
func WithLease(d time.Duration) Option {
	return func(s *settings) error {
		s.lease = d
		return positive("WithLease", d)
	}
}

// WithKeep sets for how long a message that was handled is remembered.
// Defaults to [DefaultKeep].
func WithKeep(d time.Duration) Option {
	return func(s *settings) error {
		s.keep = d
		return positive("WithKeep", d)
	}
}
