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
	// DefaultMaxBytes is the largest body that is read, in bytes. It is more than
	// the server accepts from a publisher, a little over 8,000,000 bytes, because
	// the server formats numbers anew.
	DefaultMaxBytes = 9_000_000
	// DefaultLease is how long a message may be handled before another copy of it
	// is.
	DefaultLease = time.Minute
	// DefaultKeep is how long a handled message is remembered.
	DefaultKeep = 24 * time.Hour
)

// settings are the values that options set.
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

// Option changes a default of [Handler] or [New]. If two set the same, the later one
// counts.
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

// serverTimeout is how long the server waits for a consumer whose Timeout is zero.
const serverTimeout = 5 * time.Second

// checkTimeout returns an error if the function may take longer than the server
// waits for its answer.
func (s *settings) checkTimeout() error {
	if s.consumer == nil {
		return nil
	}
	if waits := cmp.Or(s.consumer.Timeout, serverTimeout); s.timeout > waits {
		return fmt.Errorf("WithTimeout: %v is more than %v, after which the server stops waiting for the consumer of %q and posts the message again: "+
			"raise core.Consumer.Timeout or lower WithTimeout", s.timeout, waits, s.consumer.Topic)
	}
	return nil
}

// positive returns an error if a duration is not positive.
func positive(option string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: %v is not positive", option, d)
	}
	return nil
}

// WithTopic sets Message.Topic, because the server does not send the topic. Problems
// are reported with it, too.
func WithTopic(topic string) Option {
	return func(s *settings) error {
		s.topic = topic
		return nil
	}
}

// WithConsumer sets the topic, the credentials and the time limit from a consumer's
// configuration: the credentials are the userinfo of its Target, as for
// [WithCredentials], and the function's context ends after its Timeout, unless
// [WithTimeout] sets less. A zero Timeout, which the server treats as 5 s, sets no
// limit. The time limit does not apply to [Queued], whose function runs after the
// answer. A Target without userinfo does not change credentials set by other
// options.
func WithConsumer(consumer core.Consumer) Option {
	return func(s *settings) error {
		credentials, err := targetCredentials(consumer)
		if err != nil {
			return fmt.Errorf("WithConsumer: %w", err)
		}
		if consumer.Timeout < 0 {
			return errors.New("WithConsumer: Timeout is negative")
		}
		s.topic = consumer.Topic
		if credentials != nil {
			s.credentials = credentials
		}
		s.consumer = &consumer
		return nil
	}
}

// WithCredentials requires Basic credentials; without them the answer is 401. The
// server presents the userinfo of the consumer's target. The user must not be empty.
// Defaults to none: anyone who can reach the handler can deliver messages.
func WithCredentials(user, password string) Option {
	return func(s *settings) error {
		if user == "" {
			return errors.New("WithCredentials: user is empty")
		}
		s.credentials = newCredentials(user, password)
		return nil
	}
}

// WithMaxBytes bounds the size of the body in bytes; a larger one is answered with
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

// WithStrict treats a payload field that T does not have as an error, as if the
// message could not be decoded. The answer and the log name the field without its
// value. By default such fields are ignored.
func WithStrict() Option {
	return func(s *settings) error {
		s.strict = true
		return nil
	}
}

// WithoutMetadata leaves the key "_postoffice" ([core.MetadataKey]) in the payload
// and merges nothing into the attributes. Use it for messages of publishers other
// than this module that let anybody fill in payloads or use the key themselves. With
// [WithStrict], T needs a field for it. By default metadata are merged, see the
// package documentation.
func WithoutMetadata() Option {
	return func(s *settings) error {
		s.keepMetadata = true
		return nil
	}
}

// WithTimeout ends the function's context after a time. Set a little less than the
// consumer's Timeout, 5 s by default, so that the answer reaches the server in time.
// [New] returns an error if it is more than the Timeout of the consumer of
// [WithConsumer]: the server would hang up before the function ends, and post the
// message again and again. By default the context ends when the server hangs up, and
// with deduplication when the lease ends.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		s.timeout = d
		return positive("WithTimeout", d)
	}
}

// WithContext lets a function add values to the context of each message, such as the
// trace that the publisher has put into the attributes or metadata "traceparent" and
// "tracestate" (W3C Trace Context). The function must return ctx or a context
// derived from it, and must not modify the attributes.
func WithContext(add func(ctx context.Context, attributes map[string]string) context.Context) Option {
	return func(s *settings) error {
		s.context = add
		return nil
	}
}

// WithUndecodable passes messages that cannot be decoded to a function. If it
// returns nil, the message is acknowledged, so the function should store it where an
// operator finds it. After an error the answer is 500, and the server posts the
// message again. Each is reported nevertheless. By default the answer is 400, so the
// server keeps the message.
//
// Bodies that are too large or have another content type are not passed to the
// function.
func WithUndecodable(take func(ctx context.Context, m Undecodable) error) Option {
	return func(s *settings) error {
		s.undecodable = take
		return nil
	}
}

// WithOnError calls a function for every problem, before the answer: it must be fast
// and safe for concurrent use. Defaults to none. Problems are logged in any case.
func WithOnError(tell func(ctx context.Context, p Problem)) Option {
	return func(s *settings) error {
		s.onError = tell
		return nil
	}
}

// WithLogger sets the logger for problems. It gets no payloads and no credentials,
// but the text of the function's errors. Defaults to slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) error {
		if logger == nil {
			return errors.New("WithLogger: logger is nil")
		}
		s.logger = logger
		return nil
	}
}

// WithDeduplication handles each message once, as long as the deduplicator remembers
// it. See the package documentation.
func WithDeduplication(deduplicator Deduplicator) Option {
	return func(s *settings) error {
		if typednil.Is(deduplicator) {
			return errors.New("WithDeduplication: deduplicator is nil")
		}
		s.deduplicator = deduplicator
		return nil
	}
}

// WithScope names the consumer for deduplication: copies of a message in different
// scopes are all handled, because several consumers may get the same message.
// Defaults to the host and path of the request, which are those of the consumer's
// target. Set it if instances of the app get different host names from a proxy.
func WithScope(name string) Option {
	return func(s *settings) error {
		if name == "" {
			return errors.New("WithScope: name is empty")
		}
		s.scope = name
		return nil
	}
}

// WithLease sets how long a begun message keeps other copies from being handled if
// it does not end, for example after a crash. It must be longer than the function
// takes; the function's context ends with it. Defaults to [DefaultLease].
func WithLease(d time.Duration) Option {
	return func(s *settings) error {
		s.lease = d
		return positive("WithLease", d)
	}
}

// WithKeep sets how long a handled message is remembered. Defaults to [DefaultKeep].
func WithKeep(d time.Duration) Option {
	return func(s *settings) error {
		s.keep = d
		return positive("WithKeep", d)
	}
}
