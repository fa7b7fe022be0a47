package core

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Defaults and limits of a Config.
const (
	// DefaultTimeout bounds a request that carries one small message.
	DefaultTimeout = 500 * time.Millisecond
	// DefaultBulkTimeout bounds a request that carries many small messages.
	DefaultBulkTimeout = 5 * time.Second
	// DefaultBulkLimit is how many payloads go into one bulk request.
	DefaultBulkLimit = 500
	// MaxBulkLimit is how many payloads the server takes in one bulk request.
	MaxBulkLimit = wire.MaxBulk
	// DefaultRecoveryPath is where the recovery endpoint is mounted.
	DefaultRecoveryPath = "/postoffice/messages/"
)

// Config says how to reach the server, what to set up there and how messages
// are published. Only URL is required; an app that publishes also sets
// Topics and OriginHost, and an Outbox to survive the server's absence.
// A Config is copied by [NewClient]: later changes have no effect.
//
// URL, OriginHost and the consumers' targets may hold credentials, so a
// Config should not be logged as a whole.
type Config struct {
	// URL is the address of the server, such as "http://postoffice:4000". A
	// path is kept as a prefix of the API's paths. Userinfo, percent-encoded,
	// becomes Basic authentication, for a proxy in front of the server.
	// Required.
	URL string

	// Topics are the names of the topics to create, so that this app can
	// publish to them. Defaults to none.
	Topics []string

	// Consumers are the consumers to register, so that this app receives
	// messages. Defaults to none.
	Consumers []Consumer

	// OriginHost is this app as the server reaches it, such as
	// "http://orders:8080"; without a scheme, http is meant. The server
	// fetches undelivered messages from there, at RecoveryPath. Userinfo,
	// percent-encoded, is the credential that the server presents and the
	// recovery endpoint demands. With the recovery path it may have 255
	// characters. Required with Topics or RecoveryEnabled.
	//
	// The server never updates the origin host of a topic that exists.
	OriginHost string

	// RecoveryPath is the path of the recovery endpoint; together with
	// OriginHost it makes the address that is registered with the server. An
	// OriginHost that ends in it already is registered as it is. A slash is
	// added at its end. Defaults to "/postoffice/messages/".
	RecoveryPath string

	// RecoveryEnabled asks the server to fetch the undelivered messages of
	// new topics every 30 seconds. It needs credentials in OriginHost, or
	// AllowOpenRecovery: the server never updates a topic, so one that was
	// registered without would be answered 403 for ever. Defaults to false.
	RecoveryEnabled bool

	// AllowOpenRecovery lets the recovery endpoint answer without
	// credentials: whoever reaches it can read and delete undelivered
	// messages. Wrong credentials are refused all the same, so that topics
	// that were registered without credentials and those that have them can
	// be served together. Defaults to false: without userinfo in OriginHost
	// the endpoint answers 403.
	AllowOpenRecovery bool

	// Timeout bounds each request that carries a single message, and each
	// one of setup, health and the like. It is the time for a small message:
	// each full kB of a request's body adds 2 ms, 2 s for each MB, because the
	// server needs up to 0.6 s for each MB. With the default, a message of
	// 6.9 MB has 14.3 s. Defaults to 500 ms.
	Timeout time.Duration

	// BulkTimeout bounds each request that carries many messages. It grows
	// with the request's body as Timeout does. Defaults to 5 s.
	BulkTimeout time.Duration

	// BulkLimit is the most payloads to put into one bulk request, at most
	// 3000. More than 6553 jobs, payloads times HTTP consumers of the topic,
	// are too many for the server, whatever this says. Defaults to 500.
	BulkLimit int

	// Batching says how messages that are posted after the response are put
	// together; see Options.AfterResponse. Its fields have defaults.
	Batching Batching

	// Outbox keeps the messages that could not be delivered at once.
	// Defaults to none: Publish returns an error when delivery fails, and
	// nothing is kept.
	Outbox outbox.Store

	// HTTPClient is the client whose Transport sends the requests. Nothing
	// else of it is used: redirects are never followed, there are no cookies,
	// and the timeouts are those above. After a request during which nothing
	// was heard from the server, the Transport's method CloseIdleConnections is
	// called, if it has one, so that the next does not use a connection that is
	// dead. For HTTP/2 an http.Transport should ping, too, by the fields
	// SendPingTimeout and PingTimeout of its HTTP2. Defaults to a client of our
	// own, which does that, with connections tuned to the server and with the
	// proxies and certificates of http.DefaultTransport.
	HTTPClient *http.Client

	// Logger takes what happens in the background; no payloads and no
	// credentials. A panic of its Handler is told on the standard error, once
	// in 10 s, and has no other effect. Defaults to slog.Default().
	Logger *slog.Logger

	// Observer is told what becomes of messages. Defaults to nobody.
	Observer Observer

	// SetupRequired makes Start fail when setup does. Defaults to false:
	// setup is tried again in the background.
	SetupRequired bool
}

// ConsumerType is how the server delivers to a consumer. The zero
// ConsumerType means HTTP.
type ConsumerType string

// Types of consumers.
const (
	// HTTP consumers get each message by a POST to their target.
	HTTP ConsumerType = "http"
	// PubSub consumers are topics of Google Cloud Pub/Sub, named by their
	// target.
	PubSub ConsumerType = "pubsub"
)

// Consumer is a subscription to a topic. The server tells consumers apart by
// topic, target and type, and never updates the rest of one that exists. A
// consumer that was deleted there cannot be registered again.
type Consumer struct {
	// Topic is the name of the topic to receive. The server refuses a
	// consumer of a topic that does not exist. Required.
	Topic string

	// Target is the URL to which the server posts, or the Pub/Sub topic.
	// Userinfo in a URL becomes Basic authentication. At most 255 characters.
	// Required.
	Target string

	// Type is HTTP or PubSub. Defaults to HTTP.
	Type ConsumerType

	// FromNow is passed on to the server, where it has no effect as of
	// 0.19.0. Defaults to false.
	FromNow bool

	// Timeout is how long the server waits for the target's answer, in whole
	// seconds. Defaults to the server's own, 5 s.
	Timeout time.Duration

	// Retry is how long the server waits before it tries again, in whole
	// seconds. It is passed on to the server, where it has no effect as of
	// 0.19.0. Defaults to the server's own.
	Retry time.Duration

	// ChunkSize is how many messages of a bulk the server hands to Pub/Sub at
	// once. Defaults to the server's own.
	ChunkSize int

	// Paused registers the consumer as inactive. A server that has known an
	// inactive or deleted consumer since it started keeps the messages until
	// somebody activates the consumer there. One that has not delivers them at
	// once, until it is restarted (observed on 0.19.0): do not rely on Paused
	// to hold messages back. Defaults to false.
	Paused bool
}

// settings is a Config that was checked, with its defaults filled in.
type settings struct {
	baseURL       string // scheme, host and path of the server, no userinfo, no trailing slash
	authorization string // Authorization header for the server, "" for none

	topics    []string
	consumers []Consumer // Type filled in

	// originHost is what is registered with the server: OriginHost and
	// RecoveryPath, with userinfo, ending in "/". It is "" when there is no
	// OriginHost.
	originHost                     string
	recoveryPath                   string // begins and ends in "/"
	recoveryUser, recoveryPassword string
	recoveryGuarded                bool // OriginHost has userinfo
	recoveryEnabled                bool
	allowOpenRecovery              bool

	timeout, bulkTimeout time.Duration
	bulkLimit            int
	batching             Batching

	outbox        outbox.Store
	httpClient    *http.Client // nil for a client of our own
	logger        *slog.Logger
	observer      Observer
	setupRequired bool
}

// faults collects the fields at fault of one configuration.
type faults []error

func (f *faults) add(fault *FieldError) {
	if fault != nil { // a nil *FieldError in an error would not be nil
		*f = append(*f, fault)
	}
}

// err returns the faults as one ErrInvalidConfig, nil when there are none.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(f...))
}

// resolve checks the whole Config and fills in its defaults. The error tells
// of all fields at fault.
func (c Config) resolve() (*settings, error) {
	var bad faults
	s := &settings{
		topics:            slices.Clone(c.Topics),
		consumers:         slices.Clone(c.Consumers),
		recoveryEnabled:   c.RecoveryEnabled,
		allowOpenRecovery: c.AllowOpenRecovery,
		timeout:           cmp.Or(c.Timeout, DefaultTimeout),
		bulkTimeout:       cmp.Or(c.BulkTimeout, DefaultBulkTimeout),
		bulkLimit:         cmp.Or(c.BulkLimit, DefaultBulkLimit),
		outbox:            c.Outbox,
		httpClient:        c.HTTPClient,
		logger:            cmp.Or(c.Logger, slog.Default()),
		observer:          c.Observer,
		setupRequired:     c.SetupRequired,
	}
	bad.add(s.setServer(c.URL))
	checkTopics(c.Topics, &bad)
	s.resolveConsumers(&bad)

	recoveryPath, fault := resolveRecoveryPath(c.RecoveryPath)
	bad.add(fault)
	s.recoveryPath = recoveryPath
	switch {
	case c.OriginHost != "":
		bad.add(cmp.Or(s.setOrigin(c.OriginHost), s.checkRecovery()))
	case len(c.Topics) > 0:
		bad.add(fieldError("OriginHost", "is required with Topics: it is this app as the server reaches it"))
	case c.RecoveryEnabled:
		bad.add(fieldError("OriginHost", "is required with RecoveryEnabled: it is this app as the server reaches it"))
	}

	checkPresent(c, &bad)
	bad.add(checkNotNegative("Timeout", c.Timeout))
	bad.add(checkNotNegative("BulkTimeout", c.BulkTimeout))
	switch {
	case c.BulkLimit < 0:
		bad.add(fieldError("BulkLimit", "is negative"))
	case c.BulkLimit > MaxBulkLimit:
		bad.add(fieldError("BulkLimit", "is %d; the server takes at most %d", c.BulkLimit, MaxBulkLimit))
	}
	s.batching = c.Batching.resolve(s.bulkLimit, c.Outbox != nil, &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkPresent reports interfaces that hold a nil pointer, which would be called.
func checkPresent(c Config, bad *faults) {
	if c.Outbox != nil && typednil.Is(c.Outbox) {
		bad.add(fieldError("Outbox", "is a nil %T; leave it out for none", c.Outbox))
	}
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil && typednil.Is(c.HTTPClient.Transport) {
		bad.add(fieldError("HTTPClient.Transport", "is a nil %T; leave it out for http.DefaultTransport", c.HTTPClient.Transport))
	}
}

// checkTopics reports names that the server would refuse or could not tell
// apart.
func checkTopics(topics []string, bad *faults) {
	first := make(map[string]int, len(topics))
	for i, topic := range topics {
		field := fmt.Sprintf("Topics[%d]", i)
		bad.add(checkTopic(field, topic))
		if at, ok := first[topic]; ok {
			bad.add(fieldError(field, "is the same as Topics[%d]", at))
			continue
		}
		first[topic] = i
	}
}

// checkTopic reports what the server would not take as the name of a topic.
func checkTopic(field, topic string) *FieldError {
	if strings.TrimSpace(topic) == "" {
		return fieldError(field, "is blank")
	}
	return checkName(field, topic)
}

// checkName reports what the server cannot store as a name.
func checkName(field, name string) *FieldError {
	if !utf8.ValidString(name) {
		return fieldError(field, "is not valid UTF-8")
	}
	if strings.IndexByte(name, 0) >= 0 {
		return fieldError(field, "holds a NUL")
	}
	if length := utf8.RuneCountInString(name); length > wire.MaxNameLength {
		return fieldError(field, "has %d characters; the server takes at most %d", length, wire.MaxNameLength)
	}
	return nil
}

func checkNotNegative(field string, d time.Duration) *FieldError {
	if d < 0 {
		return fieldError(field, "is negative")
	}
	return nil
}

// resolveConsumers checks the consumers and fills in their types.
func (s *settings) resolveConsumers(bad *faults) {
	type identity struct {
		topic, target string
		kind          ConsumerType
	}
	first := make(map[identity]int, len(s.consumers))
	for i := range s.consumers {
		consumer := &s.consumers[i]
		consumer.Type = cmp.Or(consumer.Type, HTTP)
		field := fmt.Sprintf("Consumers[%d]", i)
		consumer.check(field, bad)

		id := identity{consumer.Topic, consumer.Target, consumer.Type}
		if at, ok := first[id]; ok {
			bad.add(fieldError(field, "has the topic, target and type of Consumers[%d]; the server would ignore it", at))
			continue
		}
		first[id] = i
	}
}

// check reports what the server would not take as a consumer.
func (c *Consumer) check(field string, bad *faults) {
	bad.add(checkTopic(field+".Topic", c.Topic))
	switch c.Type {
	case HTTP:
		bad.add(checkHTTPTarget(field+".Target", c.Target))
	case PubSub:
		bad.add(checkTarget(field+".Target", c.Target))
	default:
		bad.add(checkTarget(field+".Target", c.Target))
		bad.add(fieldError(field+".Type", "is %.40q; it must be %q or %q", string(c.Type), HTTP, PubSub))
	}
	bad.add(checkSeconds(field+".Timeout", c.Timeout))
	bad.add(checkSeconds(field+".Retry", c.Retry))
	switch {
	case c.ChunkSize < 0:
		bad.add(fieldError(field+".ChunkSize", "is negative"))
	case c.ChunkSize > math.MaxInt32:
		bad.add(fieldError(field+".ChunkSize", "is %d; the server takes at most %d", c.ChunkSize, math.MaxInt32))
	}
}

func checkTarget(field, target string) *FieldError {
	if strings.TrimSpace(target) == "" {
		return fieldError(field, "is required")
	}
	return checkName(field, target)
}

func checkHTTPTarget(field, target string) *FieldError {
	if fault := checkTarget(field, target); fault != nil {
		return fault
	}
	_, fault := parseHTTP(field, target)
	return fault
}

// checkSeconds reports a duration that the server cannot count: it takes
// whole seconds of 32 bits.
func checkSeconds(field string, d time.Duration) *FieldError {
	switch {
	case d < 0:
		return fieldError(field, "is negative")
	case d%time.Second != 0:
		return fieldError(field, "is %v; the server counts whole seconds", d)
	case d/time.Second > math.MaxInt32:
		return fieldError(field, "is %d seconds; the server takes at most %d", d/time.Second, math.MaxInt32)
	}
	return nil
}
