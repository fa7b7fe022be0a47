package core

import (
	"encoding/base64"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultsOf returns the fields at fault, with their problems.
func faultsOf(t *testing.T, err error) map[string]string {
	t.Helper()
	require.ErrorIs(t, err, ErrInvalidConfig)
	var first *FieldError
	require.ErrorAs(t, err, &first)
	found := map[string]string{}
	var walk func(error)
	walk = func(err error) {
		switch err := err.(type) { //nolint:errorlint // it unwraps step by step itself
		case *FieldError:
			assert.NotEmpty(t, err.Field)
			assert.NotEmpty(t, err.Problem)
			found[err.Field] = err.Problem
		case interface{ Unwrap() []error }:
			for _, err := range err.Unwrap() {
				walk(err)
			}
		case interface{ Unwrap() error }:
			walk(err.Unwrap())
		}
	}
	walk(err)
	return found
}

func TestResolveDefaults(t *testing.T) {
	s, err := Config{URL: "http://postoffice:4000"}.resolve()
	require.NoError(t, err)
	assert.Equal(t, &settings{
		baseURL:      "http://postoffice:4000",
		recoveryPath: "/postoffice/messages/",
		timeout:      500 * time.Millisecond,
		bulkTimeout:  5 * time.Second,
		bulkLimit:    500,
		batching:     Batching{Payloads: 500, Bytes: 1_000_000, Delay: 20 * time.Millisecond, InFlight: 4, MaxMessages: 100_000, MaxBytes: 64_000_000, MaxAge: 250 * time.Millisecond},
		logger:       slog.Default(),
	}, s)
}

func TestResolveKeepsWhatIsSet(t *testing.T) {
	client, logger := new(http.Client), slog.New(slog.DiscardHandler)
	consumer := Consumer{
		Topic: "t", Target: "http://us:pw@here/x?y=1", Type: HTTP, FromNow: true,
		Timeout: 3 * time.Second, Retry: math.MaxInt32 * time.Second, ChunkSize: math.MaxInt32, Paused: true,
	}
	config := Config{
		URL: "https://postoffice", Topics: []string{"a", strings.Repeat("é", 255)},
		Consumers:       []Consumer{consumer, {Topic: "t", Target: "projects/p/topics/t", Type: PubSub}, {Topic: "t", Target: "http://x"}},
		OriginHost:      "http://us%40er:p%3Ass%2Fw%25rd@app:8080",
		RecoveryPath:    "/recover",
		RecoveryEnabled: true, AllowOpenRecovery: true, SetupRequired: true,
		Timeout: time.Second, BulkTimeout: time.Minute, BulkLimit: MaxBulkLimit,
		HTTPClient: client, Logger: logger,
	}
	s, err := config.resolve()
	require.NoError(t, err)
	assert.Equal(t, config.Topics, s.topics)
	assert.Equal(t, []Consumer{consumer, config.Consumers[1], {Topic: "t", Target: "http://x", Type: HTTP}}, s.consumers)
	assert.Equal(t, "http://us%40er:p%3Ass%2Fw%25rd@app:8080/recover/", s.originHost)
	assert.Equal(t, "/recover/", s.recoveryPath)
	assert.Equal(t, "us@er", s.recoveryUser)
	assert.Equal(t, "p:ss/w%rd", s.recoveryPassword)
	assert.True(t, s.recoveryGuarded && s.recoveryEnabled && s.allowOpenRecovery && s.setupRequired)
	assert.Equal(t, time.Second, s.timeout)
	assert.Equal(t, time.Minute, s.bulkTimeout)
	assert.Equal(t, 3000, s.bulkLimit)
	assert.Same(t, client, s.httpClient)
	assert.Same(t, logger, s.logger)

	// The caller's slices stay the caller's.
	assert.Empty(t, config.Consumers[2].Type)
	config.Topics[0] = "changed"
	assert.Equal(t, "a", s.topics[0])
}

func TestResolveURL(t *testing.T) {
	for address, want := range map[string]struct{ base, credential string }{
		"http://postoffice":                  {base: "http://postoffice"},
		"HTTP://Postoffice/":                 {base: "http://Postoffice"},
		"https://po.example:8443/prefix//":   {base: "https://po.example:8443/prefix"},
		"http://[::1]:4000/a%2Fb":            {base: "http://[::1]:4000/a%2Fb"},
		"http://host:":                       {base: "http://host"},
		"http://us%40er:p%3Ass%2Fw%25rd@h/x": {base: "http://h/x", credential: "us@er:p:ss/w%rd"},
		"http://user@h":                      {base: "http://h", credential: "user:"},
		"http://:token@h":                    {base: "http://h", credential: ":token"},
		"http://h/%40x":                      {base: "http://h/%40x"},
	} {
		t.Run(address, func(t *testing.T) {
			s, err := Config{URL: address}.resolve()
			require.NoError(t, err)
			assert.Equal(t, want.base, s.baseURL)
			if want.credential == "" {
				assert.Empty(t, s.authorization)
				return
			}
			encoded, ok := strings.CutPrefix(s.authorization, "Basic ")
			require.True(t, ok)
			credential, err := base64.StdEncoding.DecodeString(encoded)
			require.NoError(t, err)
			assert.Equal(t, want.credential, string(credential))
		})
	}
}

func TestResolveOrigin(t *testing.T) {
	for name, test := range map[string]struct{ origin, path, want string }{
		"plain":              {"http://app:8080", "", "http://app:8080/postoffice/messages/"},
		"no scheme":          {"example.com:8000", "", "http://example.com:8000/postoffice/messages/"},
		"no scheme, user":    {"us:pw@example.com", "", "http://us:pw@example.com/postoffice/messages/"},
		"https":              {"https://app/", "", "https://app/postoffice/messages/"},
		"prefix":             {"http://app/orders/", "/rescue/", "http://app/orders/rescue/"},
		"has the path":       {"http://app/orders/postoffice/messages/", "", "http://app/orders/postoffice/messages/"},
		"has it, no slash":   {"http://app/postoffice/messages", "", "http://app/postoffice/messages/"},
		"has half of it":     {"http://app/messages", "", "http://app/messages/postoffice/messages/"},
		"root":               {"http://app", "/", "http://app/"},
		"root below prefix":  {"http://app/x", "/", "http://app/x/"},
		"odd characters":     {"http://u+s:p%2B%24;@app", "/", "http://u%2Bs:p%2B%24%3B@app/"},
		"user alone":         {"http://user@app", "/", "http://user:@app/"},
		"address of IPv6":    {"http://[fe80::1%25eth0]:80", "/", "http://[fe80::1%25eth0]:80/"},
		"255 characters":     {"http://" + strings.Repeat("a", 247), "/", "http://" + strings.Repeat("a", 247) + "/"},
		"every path segment": {"http://app", "/a-b/c.d/e_f/~", "http://app/a-b/c.d/e_f/~/"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Config{URL: "http://po", Topics: []string{"t"}, OriginHost: test.origin, RecoveryPath: test.path}.resolve()
			require.NoError(t, err)
			assert.Equal(t, test.want, s.originHost)
			assert.Equal(t, strings.Contains(test.origin, "@"), s.recoveryGuarded)
			assert.True(t, strings.HasSuffix(s.recoveryPath, "/"))
		})
	}
}

func TestResolveFaults(t *testing.T) {
	long := strings.Repeat("é", 256)
	// with changes a Config that is in order.
	with := func(change func(*Config)) Config {
		config := Config{URL: "http://po", Topics: []string{"t"}, OriginHost: "http://app"}
		change(&config)
		return config
	}
	url := func(url string) Config { return with(func(c *Config) { c.URL = url }) }
	origin := func(origin string) Config { return with(func(c *Config) { c.OriginHost = origin }) }
	path := func(path string) Config { return with(func(c *Config) { c.RecoveryPath = path }) }
	topics := func(topics ...string) Config { return with(func(c *Config) { c.Topics = topics }) }
	consumer := func(change func(*Consumer)) Config {
		consumer := Consumer{Topic: "t", Target: "http://me"}
		change(&consumer)
		return with(func(c *Config) { c.Consumers = []Consumer{consumer} })
	}
	target := func(target string) Config { return consumer(func(c *Consumer) { c.Target = target }) }

	for name, test := range map[string]struct {
		config         Config
		field, problem string
	}{
		"url missing":              {url(""), "URL", "is required"},
		"url no scheme":            {url("po:4000"), "URL", "must begin with http:// or https://"},
		"url other scheme":         {url("ftp://po"), "URL", "must begin with http:// or https://"},
		"url relative":             {url("/api"), "URL", "must begin with http:// or https://"},
		"url opaque":               {url("http:po"), "URL", "must begin with http:// or https://"},
		"url no host":              {url("http://"), "URL", "has no host"},
		"url only port":            {url("http://:80"), "URL", "has no host"},
		"url port 0":               {url("http://po:0"), "URL", "port"},
		"url port too large":       {url("http://po:65536"), "URL", "port"},
		"url port text":            {url("http://po:http"), "URL", "cannot be parsed: it must be like"},
		"url query":                {url("http://po?x=1"), "URL", "must have no query"},
		"url empty query":          {url("http://po?"), "URL", "must have no query"},
		"url fragment":             {url("http://po#x"), "URL", "must have no fragment"},
		"url empty fragment":       {url("http://po#"), "URL", "must have no fragment"},
		"url white space":          {url(" http://po\n"), "URL", "white space"},
		"url control character":    {url("http://p\x01o"), "URL", "control character"},
		"url host character":       {url("http://p^o"), "URL", "the host holds"},
		"url bad escape":           {url("http://po/%zz"), "URL", "two hexadecimal digits"},
		"url empty userinfo":       {url("http://@po"), "URL", "empty userinfo"},
		"url colon in user":        {url("http://us%3Aer:SECRET@po"), "URL", "colon in its user name"},
		"password with slash":      {url("http://user:SEC/RET@po"), "URL", "userinfo must be percent-encoded"},
		"password digits slash":    {url("http://user:12/SECRET@po"), "URL", "%2F"},
		"password with hash":       {url("http://user:SEC#RET@po"), "URL", "userinfo must be percent-encoded"},
		"password with percent":    {url("http://user:SECRET%@po"), "URL", "userinfo must be percent-encoded"},
		"password with question":   {url("http://user:12?SECRET@po"), "URL", "%3F"},
		"password with space":      {url("http://user:SEC RET@po"), "URL", "userinfo must be percent-encoded"},
		"origin missing":           {origin(""), "OriginHost", "is required with Topics"},
		"origin scheme":            {origin("ftp://app"), "OriginHost", "must begin with"},
		"origin one slash":         {origin("http:/app"), "OriginHost", "must begin with"},
		"origin no host":           {origin("/path"), "OriginHost", "has no host"},
		"origin query":             {origin("app?x"), "OriginHost", "must have no query"},
		"origin fragment":          {origin("app#x"), "OriginHost", "must have no fragment"},
		"origin port":              {origin("app:99999"), "OriginHost", "port"},
		"origin no user":           {origin("http://:SECRET@app"), "OriginHost", "without a user name"},
		"origin password":          {origin("user:SEC/RET@app"), "OriginHost", "userinfo must be percent-encoded"},
		"origin too long":          {origin("http://u:SECRET@" + strings.Repeat("a", 220)), "OriginHost", "the server takes at most 255"},
		"path no slash":            {path("messages/"), "RecoveryPath", "must begin with a slash"},
		"path query":               {path("/a?b"), "RecoveryPath", `holds '?'`},
		"path fragment":            {path("/a#b"), "RecoveryPath", `holds '#'`},
		"path space":               {path("/a b"), "RecoveryPath", `holds ' '`},
		"path braces":              {path("/{a}"), "RecoveryPath", `holds '{'`},
		"path colon":               {path("/:a"), "RecoveryPath", `holds ':'`},
		"path asterisk":            {path("/*a"), "RecoveryPath", `holds '*'`},
		"path percent":             {path("/%2e"), "RecoveryPath", `holds '%'`},
		"path not ASCII":           {path("/é"), "RecoveryPath", `holds 'é'`},
		"path not UTF-8":           {path("/\xff"), "RecoveryPath", `holds '�'`},
		"path dots":                {path("/a/../b"), "RecoveryPath", "dots"},
		"path dot":                 {path("/a/."), "RecoveryPath", "dots"},
		"path empty segment":       {path("//a"), "RecoveryPath", "empty segment"},
		"path too long":            {path("/" + strings.Repeat("a", 254)), "RecoveryPath", "at most 255"},
		"topic empty":              {topics("t", ""), "Topics[1]", "is blank"},
		"topic blank":              {topics("\t "), "Topics[0]", "is blank"},
		"topic long":               {topics(long), "Topics[0]", "has 256 characters"},
		"topic UTF-8":              {topics("\xff"), "Topics[0]", "is not valid UTF-8"},
		"topic NUL":                {topics("a\x00b"), "Topics[0]", "holds a NUL"},
		"topic twice":              {topics("t", "u", "t"), "Topics[2]", "is the same as Topics[0]"},
		"consumer topic":           {consumer(func(c *Consumer) { c.Topic = "" }), "Consumers[0].Topic", "is blank"},
		"consumer type":            {consumer(func(c *Consumer) { c.Type = "smtp" }), "Consumers[0].Type", `is "smtp"; it must be "http" or "pubsub"`},
		"target missing":           {target(""), "Consumers[0].Target", "is required"},
		"target long":              {target("http://" + long), "Consumers[0].Target", "at most 255"},
		"target NUL":               {target("http://me/\x00"), "Consumers[0].Target", "holds a NUL"},
		"target UTF-8":             {target("http://me/\xff"), "Consumers[0].Target", "is not valid UTF-8"},
		"target no scheme":         {target("user:SECRET@me"), "Consumers[0].Target", "must begin with"},
		"target no host":           {target("http:///x"), "Consumers[0].Target", "has no host"},
		"target password":          {target("http://user:SEC/RET@me"), "Consumers[0].Target", "userinfo must be percent-encoded"},
		"target port":              {target("http://user:SECRET@me:0"), "Consumers[0].Target", "port"},
		"pubsub target missing":    {consumer(func(c *Consumer) { c.Type, c.Target = PubSub, " " }), "Consumers[0].Target", "is required"},
		"pubsub target long":       {consumer(func(c *Consumer) { c.Type, c.Target = PubSub, long }), "Consumers[0].Target", "at most 255"},
		"consumer timeout":         {consumer(func(c *Consumer) { c.Timeout = -1 }), "Consumers[0].Timeout", "is negative"},
		"consumer timeout broken":  {consumer(func(c *Consumer) { c.Timeout = 1500 * time.Millisecond }), "Consumers[0].Timeout", "is 1.5s; the server counts whole seconds"},
		"consumer retry too large": {consumer(func(c *Consumer) { c.Retry = (math.MaxInt32 + 1) * time.Second }), "Consumers[0].Retry", "at most 2147483647"},
		"chunk negative":           {consumer(func(c *Consumer) { c.ChunkSize = -1 }), "Consumers[0].ChunkSize", "is negative"},
		"timeout":                  {with(func(c *Config) { c.Timeout = -1 }), "Timeout", "is negative"},
		"bulk timeout":             {with(func(c *Config) { c.BulkTimeout = -1 }), "BulkTimeout", "is negative"},
		"bulk limit negative":      {with(func(c *Config) { c.BulkLimit = -1 }), "BulkLimit", "is negative"},
		"bulk limit too large":     {with(func(c *Config) { c.BulkLimit = 3001 }), "BulkLimit", "is 3001; the server takes at most 3000"},
		"recovery, no credentials": {Config{URL: "http://po", OriginHost: "app:8080", RecoveryEnabled: true}, "OriginHost",
			"put USER:PASSWORD@ before its host, or set AllowOpenRecovery"},
		"recovery without origin": {Config{URL: "http://po", RecoveryEnabled: true}, "OriginHost", "is required with RecoveryEnabled"},
		"same consumer twice": {with(func(c *Config) {
			c.Consumers = []Consumer{{Topic: "t", Target: "http://me"}, {Topic: "t", Target: "http://me", Type: HTTP, Paused: true}}
		}), "Consumers[1]", "Consumers[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := test.config.resolve()
			assert.Nil(t, s)
			faults := faultsOf(t, err)
			assert.Contains(t, faults[test.field], test.problem)
			assert.Len(t, faults, 1, "%v", faults)
			for _, secret := range []string{"SECRET", "SEC", "RET", "user:"} {
				assert.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestChunkSizeIsA32BitNumber(t *testing.T) {
	size := int64(math.MaxInt32) + 1
	if int64(int(size)) != size {
		t.Skip("an int has 32 bits here")
	}
	_, err := Config{URL: "http://po", Consumers: []Consumer{{Topic: "t", Target: "http://me", ChunkSize: int(size)}}}.resolve()
	assert.Contains(t, faultsOf(t, err)["Consumers[0].ChunkSize"], "at most 2147483647")
}

func TestResolveTellsAllFaults(t *testing.T) {
	_, err := Config{
		Topics: []string{""}, RecoveryPath: "x", Timeout: -1, BulkTimeout: -1, BulkLimit: -1,
		Consumers: []Consumer{{Type: "x", Timeout: -1, Retry: -1, ChunkSize: -1}},
	}.resolve()
	found := faultsOf(t, err)
	for _, field := range []string{
		"URL", "Topics[0]", "OriginHost", "RecoveryPath", "Timeout", "BulkTimeout", "BulkLimit",
		"Consumers[0].Topic", "Consumers[0].Target", "Consumers[0].Type", "Consumers[0].Timeout", "Consumers[0].Retry", "Consumers[0].ChunkSize",
	} {
		assert.Contains(t, found, field)
	}
	assert.Len(t, found, 13)
}

// Faults come in the order of the fields, so that two runs tell the same.
func TestFaultsComeInOrder(t *testing.T) {
	want := `postoffice: invalid configuration: URL is required: it is the address of the Postoffice server
Batching.Payloads is negative
Batching.Bytes is negative
Batching.InFlight is negative
Batching.MaxMessages is negative
Batching.MaxBytes is negative`
	for range 20 {
		_, err := NewClient(Config{Batching: Batching{Payloads: -1, Bytes: -1, InFlight: -1, MaxMessages: -1, MaxBytes: -1}})
		require.EqualError(t, err, want)
	}
}

func TestConsumersThatDiffer(t *testing.T) {
	_, err := Config{URL: "http://po", Consumers: []Consumer{
		{Topic: "t", Target: "http://me"},
		{Topic: "t", Target: "http://me", Type: PubSub},
		{Topic: "u", Target: "http://me"},
		{Topic: "t", Target: "http://me/"},
	}}.resolve()
	assert.NoError(t, err, "topic, target or type tell them apart")
}

func TestRedactTarget(t *testing.T) {
	for target, want := range map[string]string{
		"http://us:SECRET@me:80/x?y=a@b": "http://me:80/x?y=a@b",
		"http://me/@user":                "http://me/@user",
		"http://us:SEC/RET@me/x":         "http://me/x",
		"http://us:SEC%RET@me/x":         "http://me/x",
		"us:SECRET@me/x":                 "me/x",
		"http://a@SECRET@me":             "http://me",
		"projects/p/topics/t":            "projects/p/topics/t",
		"":                               "",
	} {
		assert.Equal(t, want, redactTarget(target))
	}
}

func TestCheckTopicIsNilForGoodNames(t *testing.T) {
	var err error
	if fault := checkTopic("topic", "orders"); fault != nil {
		err = fault
	}
	assert.NoError(t, err)
	assert.ErrorIs(t, faults{checkTopic("topic", "")}.err(), ErrInvalidConfig)
}
