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

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Defaults and limits of a Config.
const (
	// DefaultTimeout bounds a request with one small message.
	DefaultTimeout = 500 * time.Millisecond
	// DefaultBulkTimeout bounds a request with many small messages.
	DefaultBulkTimeout = 5 * time.Second
	// DefaultBulkLimit is the maximum number of payloads in one bulk request.
	DefaultBulkLimit = 500
	// DefaultPostsPerTopic is the number of requests in progress for one topic
	// and one set of attributes before concurrent calls share requests.
	DefaultPostsPerTopic = 2
	// DefaultMaxPosts is the number of requests in progress before calls wait.
	DefaultMaxPosts = 32
	// MaxBulkLimit is the maximum number of payloads that the server accepts in
	// one bulk request.
	MaxBulkLimit = wire.MaxBulk
	// DefaultRecoveryPath is where the recovery endpoint is mounted.
	DefaultRecoveryPath = "/postoffice/messages/"
)

// Config configures a Client: how to reach the server, what to set up there and
// how to publish. Only URL is required. An app that publishes also sets Topics
// and OriginHost, and an Outbox so that messages survive an outage of the
// server. [NewClient] copies the Config: later changes have no effect.
//
// URL, OriginHost and the targets of consumers may contain credentials, so do
// not log a Config as a whole.
type Config struct {
	// URL is the address of the server, such as "http://postoffice:4000". A
	// path becomes a prefix of the API's paths. Percent-encoded userinfo
	// becomes Basic authentication for a proxy in front of the server.
	// Required.
	URL string

	// Topics are the names of the topics that the client creates and publishes
	// to. If the server turns out to have lost one, the client creates it again
	// before it delivers messages of the topic, together with the Consumers of
	// the topic that setup has attempted before. Defaults to none.
	Topics []string

	// Consumers are the consumers that the client registers to receive
	// messages. Their topics must exist: until a publisher has created a topic,
	// setup of its consumers fails, and the client retries it after Start.
	// Defaults to none.
	Consumers []Consumer

	// OriginHost is the address at which the server reaches this app, such as
	// "http://orders:8080"; without a scheme, http is used. With
	// RecoveryEnabled, the server fetches undelivered messages from there, at
	// RecoveryPath. Percent-encoded userinfo is the credential that the server
	// sends and the recovery endpoint requires. At most 255 characters,
	// recovery path included. Required with Topics or RecoveryEnabled.
	//
	// The server stores the address with each topic that it creates and never
	// updates it. Without RecoveryEnabled it does not use the address, so any
	// address is accepted, but topics created with it keep it.
	OriginHost string

	// RecoveryPath is the path of the recovery endpoint. It is appended to
	// OriginHost to form the address that is registered with the server, unless
	// OriginHost already ends in it. A trailing slash is added. Defaults to
	// "/postoffice/messages/".
	RecoveryPath string

	// RecoveryEnabled makes the server fetch the undelivered messages of new
	// topics every 30 seconds. It requires credentials in OriginHost, or
	// AllowOpenRecovery: the server never updates a topic, so a topic
	// registered without credentials would get 403 forever. Defaults to false.
	RecoveryEnabled bool

	// AllowOpenRecovery makes the recovery endpoint accept requests without
	// credentials: anyone who can reach it can read and delete undelivered
	// messages. Wrong credentials are still refused. This serves topics
	// registered with and without credentials side by side. Defaults to false:
	// without userinfo in OriginHost the endpoint responds with 403.
	AllowOpenRecovery bool

	// Timeout bounds each request with a single message, and each request for
	// setup, health and the like. It applies to a small message: each full kB
	// of the request body adds 2 ms, which is 2 s per MB, because the server
	// needs up to 0.6 s per MB. With the default, the timeout of a message of
	// 6.9 MB is 14.3 s. Defaults to 500 ms.
	Timeout time.Duration

	// BulkTimeout bounds each request with many messages. It grows with the
	// request body as Timeout does. Defaults to 5 s.
	BulkTimeout time.Duration

	// PostsPerTopic is the number of requests with single messages in progress
	// for one topic and one set of attributes. A call beyond this limit waits
	// until one of the requests ends, or for an eighth of Timeout. Then all
	// waiting calls share one request. Calls below the limit never wait for
	// others, and calls wait less while the server needs most of Timeout for
	// each request.
	//
	// Each call has its own result within Timeout, which includes the wait: a
	// message without a response by then is stored in the outbox or returned as
	// an error. PublishBulk calls with at most 100 payloads and 16 kB also
	// share requests. Messages over 64 kB, including attributes, are always
	// posted alone, and so are the messages of a topic of which the server only
	// accepts single messages.
	//
	// A shared request does not have the values of a call's context. A negative
	// number disables sharing and waiting, which is necessary if the Transport
	// of HTTPClient reads such values. Defaults to 2.
	PostsPerTopic int

	// MaxPosts is the number of Publish requests in progress, over all topics
	// and attributes; further calls wait for one to end. It keeps many callers
	// from overloading the server. Large messages and PublishBulk with many
	// payloads do not count. A request also stops counting after an eighth of
	// Timeout, because it may hang. Calls that cannot share are limited to
	// MaxPosts divided by the time of a request: 32 requests of 10 ms are 3,200
	// messages a second. Negative means no limit. Defaults to 32.
	MaxPosts int

	// BulkLimit is the maximum number of payloads in one bulk request, at most
	// 3000. The server also rejects requests that would create more than 6553
	// jobs: one per payload and HTTP consumer of the topic. Defaults to 500.
	BulkLimit int

	// Batching configures how messages that are posted after the response are
	// grouped into batches; see Options.AfterResponse. Its fields have
	// defaults.
	Batching Batching

	// MetadataInPayload moves metadata from the attributes into the payload
	// object, under the key [MetadataKey]: the id of WithMessageID, the trace
	// of otelpo.WithPropagation, Options.Attributes and WithMetadata. Messages
	// share a request only if their attributes are equal; with this setting,
	// messages with different ids and traces can share one. The key is the
	// first of the object and its value is an object of strings. It counts
	// toward the size of the payload and stays in the outbox.
	//
	// The handlers of core/delivery take the metadata out of the payload and
	// merge it into the message's attributes, whether or not this is set.
	// Consumers with an older version of this module, or in other languages,
	// see the key in the payload, so upgrade consumers before publishers.
	// Defaults to false: metadata is sent as attributes.
	MetadataInPayload bool

	// Marshal encodes payloads instead of encoding/json, for apps that use an
	// encoder such as sonic, goccy/go-json or encoding/json/v2. It must be safe
	// for concurrent use. The client copies the result before Publish returns,
	// so Marshal may reuse its memory.
	//
	// The result must be one JSON object; surrounding white space is removed.
	// It is checked like every payload: syntax, UTF-8, NUL, digits of numbers,
	// depth, size, and the key [MetadataKey]. If Marshal fails or panics, the
	// call returns ErrInvalidMessage. The error wraps the error of Marshal, but
	// its text only names the error's type, because the original text may
	// contain values.
	//
	// Options of the encoder: the order of map keys does not matter. HTML
	// escaping is accepted, but enlarges payloads; goccy/go-json escapes by
	// default, sonic and encoding/json/v2 do not. Text that is not valid UTF-8
	// is refused: encoding/json/v2 reports it and sonic passes it on by
	// default. Where goccy/go-json replaces it with U+FFFD, the client searches
	// the fields that encoding/json would encode.
	//
	// Defaults to encoding/json without HTML escaping.
	Marshal func(payload any) ([]byte, error)

	// Outbox stores messages that could not be delivered at once. Defaults to
	// none: Publish returns an error when delivery fails, and nothing is
	// stored.
	Outbox outbox.Store

	// RelayRate is the maximum number of messages per second that this client
	// delivers from the outbox, including retries. Each replica has its own
	// limit. It protects the server after a long outage that has left many
	// messages in the outbox; newly published messages are not limited. After a
	// pause, a quarter of it may be delivered at once. Defaults to no limit.
	RelayRate int

	// HTTPClient is the client whose Transport sends the requests. Its other
	// fields are not used: redirects are never followed, there are no cookies,
	// and the timeouts are those of this Config. After a request during which
	// the server sent nothing, the client calls the Transport's
	// CloseIdleConnections method, if there is one, because the connection may
	// be dead. For HTTP/2, also enable pings in an http.Transport with the
	// fields SendPingTimeout and PingTimeout of its HTTP2. By default, the
	// client uses a Transport with these pings, connection settings tuned for
	// the server, and the proxies and certificates of http.DefaultTransport.
	HTTPClient *http.Client

	// Logger receives background events, without payloads and credentials. A
	// panic of its Handler is written to standard error, once in 10 s, and has
	// no other effect. Defaults to slog.Default().
	Logger *slog.Logger

	// Observer receives an event for each outcome of messages. Defaults to
	// none.
	Observer Observer

	// SetupRequired makes Start fail when setup fails. Defaults to false: setup
	// is retried in the background.
	SetupRequired bool
}

// ConsumerType is the way in which the server delivers to a consumer. The zero
// value means HTTP.
type ConsumerType string

// Types of consumers.
const (
	// HTTP consumers receive each message as a POST to their target.
	HTTP ConsumerType = "http"
	// PubSub consumers are Google Cloud Pub/Sub topics, named by their target.
	PubSub ConsumerType = "pubsub"
)

// Consumer is a subscription to a topic. The server identifies a consumer by
// topic, target and type, and never updates the other fields of an existing
// one. A consumer that was deleted on the server cannot be registered again.
type Consumer struct {
	// Topic is the name of the topic to receive. The server refuses a consumer
	// of an unknown topic. Required.
	Topic string

	// Target is the URL to which the server posts, or the Pub/Sub topic.
	// Userinfo in a URL becomes Basic authentication. At most 255 characters.
	// Required.
	Target string

	// Type is HTTP or PubSub. Defaults to HTTP.
	Type ConsumerType

	// FromNow is passed to the server, where it has no effect as of 0.19.0.
	// Defaults to false.
	FromNow bool

	// Timeout is how long the server waits for the target's response, in whole
	// seconds. Defaults to the server's default, 5 s.
	Timeout time.Duration

	// Retry is how long the server waits before a retry, in whole seconds. It
	// is passed to the server, where it has no effect as of 0.19.0. Defaults to
	// the server's default.
	Retry time.Duration

	// ChunkSize is how many messages of a bulk request the server sends to
	// Pub/Sub at once. Defaults to the server's default.
	ChunkSize int

	// Paused registers the consumer as inactive. If the server has known an
	// inactive or deleted consumer since it started, it keeps the messages
	// until the consumer is activated there. Otherwise it delivers them at once
	// until it is restarted (observed on 0.19.0), so do not rely on Paused to
	// hold messages back. Defaults to false.
	Paused bool
}

// settings is a validated Config with its defaults filled in.
type settings struct {
	baseURL       string // scheme, host and path of the server, no userinfo, no trailing slash
	authorization string // Authorization header for the server, "" for none

	topics    []string
	consumers []Consumer // Type filled in

	// originHost is the address registered with the server: OriginHost and
	// RecoveryPath, with userinfo and a trailing slash. It is "" without an
	// OriginHost.
	originHost                     string
	recoveryPath                   string // begins and ends in "/"
	recoveryUser, recoveryPassword string
	recoveryGuarded                bool // OriginHost has userinfo
	recoveryEnabled                bool
	allowOpenRecovery              bool

	timeout, bulkTimeout time.Duration
	bulkLimit            int
	postsPerTopic        int // negative: calls never share
	maxPosts             int // negative: no limit
	batching             Batching

	marshal func(any) ([]byte, error) // nil for encoding/json
	// metadataInPayload puts metadata into payloads.
	metadataInPayload bool
	outbox            outbox.Store
	httpClient        *http.Client // nil for the default
	logger            *slog.Logger
	observer          Observer
	setupRequired     bool
	relayRate         int // zero for no limit
}

// faults collects the invalid fields of a configuration.
type faults []error

func (f *faults) add(fault *FieldError) {
	if fault != nil { // a nil *FieldError in an error is not nil
		*f = append(*f, fault)
	}
}

// err returns the faults as one ErrInvalidConfig, nil if there are none.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalidConfig, errors.Join(f...))
}

// resolve checks the whole Config and fills in its defaults. The error names
// all invalid fields.
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
		postsPerTopic:     cmp.Or(c.PostsPerTopic, DefaultPostsPerTopic),
		maxPosts:          cmp.Or(c.MaxPosts, DefaultMaxPosts),
		marshal:           c.Marshal,
		metadataInPayload: c.MetadataInPayload,
		outbox:            c.Outbox,
		relayRate:         c.RelayRate,
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
		bad.add(fieldError("OriginHost", "is required with Topics: it is the address at which the server reaches this app"))
	case c.RecoveryEnabled:
		bad.add(fieldError("OriginHost", "is required with RecoveryEnabled: it is the address at which the server reaches this app"))
	}

	checkPresent(c, &bad)
	bad.add(checkNotNegative("Timeout", c.Timeout))
	bad.add(checkNotNegative("BulkTimeout", c.BulkTimeout))
	switch {
	case c.BulkLimit < 0:
		bad.add(fieldError("BulkLimit", "is negative"))
	case c.BulkLimit > MaxBulkLimit:
		bad.add(fieldError("BulkLimit", "is %d; the server accepts at most %d", c.BulkLimit, MaxBulkLimit))
	}
	if c.RelayRate < 0 {
		bad.add(fieldError("RelayRate", "is negative"))
	}
	s.batching = c.Batching.resolve(s.bulkLimit, c.Outbox != nil, &bad)
	if err := bad.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// checkPresent reports interfaces that hold a nil pointer, because their
// methods would panic.
func checkPresent(c Config, bad *faults) {
	if c.Outbox != nil && typednil.Is(c.Outbox) {
		bad.add(fieldError("Outbox", "is a nil %T; omit it for none", c.Outbox))
	}
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil && typednil.Is(c.HTTPClient.Transport) {
		bad.add(fieldError("HTTPClient.Transport", "is a nil %T; omit it for http.DefaultTransport", c.HTTPClient.Transport))
	}
}

// checkTopics reports names that the server refuses or cannot distinguish.
func checkTopics(topics []string, bad *faults) {
	first := make(map[string]int, len(topics))
	for i, topic := range topics {
		field := fmt.Sprintf("Topics[%d]", i)
		bad.add(fieldOf(message.CheckTopic(field, topic)))
		if at, ok := first[topic]; ok {
			bad.add(fieldError(field, "is the same as Topics[%d]", at))
			continue
		}
		first[topic] = i
	}
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
			bad.add(fieldError(field, "has the same topic, target and type as Consumers[%d]; the server would ignore it", at))
			continue
		}
		first[id] = i
	}
}

// check reports fields that the server does not accept for a consumer.
func (c *Consumer) check(field string, bad *faults) {
	bad.add(fieldOf(message.CheckTopic(field+".Topic", c.Topic)))
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
		bad.add(fieldError(field+".ChunkSize", "is %d; the server accepts at most %d", c.ChunkSize, math.MaxInt32))
	}
}

func checkTarget(field, target string) *FieldError {
	if strings.TrimSpace(target) == "" {
		return fieldError(field, "is required")
	}
	return fieldOf(message.CheckName(field, target))
}

func checkHTTPTarget(field, target string) *FieldError {
	if fault := checkTarget(field, target); fault != nil {
		return fault
	}
	_, fault := parseHTTP(field, target)
	return fault
}

// checkSeconds reports a duration that the server cannot represent: it uses
// whole seconds of 32 bits.
func checkSeconds(field string, d time.Duration) *FieldError {
	switch {
	case d < 0:
		return fieldError(field, "is negative")
	case d%time.Second != 0:
		return fieldError(field, "is %v; the server requires whole seconds", d)
	case d/time.Second > math.MaxInt32:
		return fieldError(field, "is %d seconds; the server accepts at most %d", d/time.Second, math.MaxInt32)
	}
	return nil
}
