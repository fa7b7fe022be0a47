package core_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// faultsOf returns the fields at fault, with their problems.
func faultsOf(t *testing.T, err error) map[string]string {
	t.Helper()
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	var first *core.FieldError
	require.ErrorAs(t, err, &first)
	found := map[string]string{}
	var walk func(error)
	walk = func(err error) {
		switch err := err.(type) { //nolint:errorlint // it unwraps step by step itself
		case *core.FieldError:
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

// The zero value of a field means its default, which the documentation tells.
func TestDefaults(t *testing.T) {
	assert.Equal(t, []any{
		500 * time.Millisecond, 5 * time.Second, 500, 3000, "/postoffice/messages/",
		1_000_000, 20 * time.Millisecond, 4, 100_000, 64_000_000, 250 * time.Millisecond, 10 * time.Second,
	}, []any{
		core.DefaultTimeout, core.DefaultBulkTimeout, core.DefaultBulkLimit, core.MaxBulkLimit, core.DefaultRecoveryPath,
		core.DefaultBatchBytes, core.DefaultBatchDelay, core.DefaultBatchesInFlight, core.DefaultMaxMessages, core.DefaultMaxBytes,
		core.DefaultMaxAge, core.MaxBatchDelay,
	})
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: server}, BulkTimeout: time.Hour})
		stats := client.Stats()
		assert.Equal(t, core.DefaultMaxMessages, stats.MaxQueued)
		assert.Equal(t, core.DefaultMaxBytes, stats.MaxQueuedBytes)
		assert.Equal(t, []string{core.DefaultRecoveryPath}, pathsOf(t, client))
		for range core.DefaultBatchesInFlight + 2 {
			queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
			time.Sleep(core.DefaultBatchDelay + time.Millisecond) // so that each has a batch of its own
		}
		synctest.Wait()
		assert.EqualValues(t, core.DefaultBatchesInFlight, server.waiting.Load(), "batches in flight")
		for range core.DefaultBatchesInFlight + 2 {
			server.answers <- http.StatusCreated
		}
	})
}

func TestConfigIsKept(t *testing.T) {
	consumer := core.Consumer{
		Topic: "t", Target: "http://us:pw@here/x?y=1", Type: core.HTTP, FromNow: true,
		Timeout: 3 * time.Second, Retry: math.MaxInt32 * time.Second, ChunkSize: math.MaxInt32, Paused: true,
	}
	long := strings.Repeat("é", 255)
	var mu sync.Mutex
	var bodies []map[string]any
	config := core.Config{
		URL: "https://postoffice", Topics: []string{"a", long},
		Consumers:       []core.Consumer{consumer, {Topic: "t", Target: "projects/p/topics/t", Type: core.PubSub}, {Topic: "t", Target: "http://x"}},
		OriginHost:      "http://us%40er:p%3Ass%2Fw%25rd@app:8080",
		RecoveryPath:    "/recover",
		RecoveryEnabled: true, AllowOpenRecovery: true, SetupRequired: true,
		Timeout: time.Second, BulkTimeout: time.Minute, BulkLimit: core.MaxBulkLimit,
		HTTPClient: &http.Client{Transport: answering(func(w http.ResponseWriter, r *http.Request) {
			var body map[string]any
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
			mu.Lock()
			defer mu.Unlock()
			bodies = append(bodies, body)
			w.WriteHeader(http.StatusCreated)
		})},
	}
	client := newTestClient(t, config)
	config.Topics[0], config.Consumers[1].Target = "changed", "changed" // which has no effect
	assert.Empty(t, config.Consumers[2].Type, "the caller's slices stay the caller's")
	setUp := func(topics, consumers bool) []map[string]any {
		bodies = nil
		if topics {
			_, err := client.SetupTopics(t.Context())
			require.NoError(t, err)
		}
		if consumers {
			_, err := client.SetupConsumers(t.Context())
			require.NoError(t, err)
		}
		return bodies
	}
	host := "http://us%40er:p%3Ass%2Fw%25rd@app:8080/recover/"
	assert.ElementsMatch(t, []map[string]any{
		{"name": "a", "origin_host": host, "recovery_enabled": true}, {"name": long, "origin_host": host, "recovery_enabled": true},
	}, setUp(true, false))
	assert.ElementsMatch(t, []map[string]any{
		{"topic": "t", "target": "http://us:pw@here/x?y=1", "type": "http", "active": false, "from_now": true,
			"seconds_timeout": 3., "seconds_retry": float64(math.MaxInt32), "chunk_size": float64(math.MaxInt32)},
		{"topic": "t", "target": "projects/p/topics/t", "type": "pubsub", "active": true, "from_now": false},
		{"topic": "t", "target": "http://x", "type": "http", "active": true, "from_now": false},
	}, setUp(false, true))
	assert.Equal(t, []string{"/recover/"}, pathsOf(t, client))
	assert.Equal(t, http.StatusUnauthorized, ask(client.RecoveryHandler(), "GET", "/recover/", "us@er", "wrong").Code)
	assert.Equal(t, http.StatusOK, ask(client.RecoveryHandler(), "GET", "/recover/", "us@er", "p:ss/w%rd").Code)
}

func TestURLOfRequests(t *testing.T) {
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
			var request *http.Request
			client := newTestClient(t, core.Config{URL: address, HTTPClient: &http.Client{
				Transport: answering(func(w http.ResponseWriter, r *http.Request) {
					request = r
					_, _ = io.WriteString(w, `{"status":"ok"}`)
				}),
			}})
			require.NoError(t, client.Health(t.Context()))
			assert.Equal(t, want.base+"/api/health", request.URL.String())
			user, password, ok := request.BasicAuth()
			assert.Equal(t, want.credential != "", ok)
			if ok {
				assert.Equal(t, want.credential, user+":"+password)
			}
		})
	}
}

func TestOriginHostThatIsRegistered(t *testing.T) {
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
			var registered string
			client := newTestClient(t, core.Config{
				URL: "http://po", Topics: []string{"t"}, OriginHost: test.origin, RecoveryPath: test.path,
				HTTPClient: &http.Client{Transport: answering(func(w http.ResponseWriter, r *http.Request) {
					var body struct {
						OriginHost string `json:"origin_host"`
					}
					assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
					registered = body.OriginHost
					w.WriteHeader(http.StatusCreated)
				})},
			})
			_, err := client.SetupTopics(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.want, registered)
			paths := pathsOf(t, client)
			require.Len(t, paths, 1)
			status := http.StatusForbidden
			if strings.Contains(test.origin, "@") {
				status = http.StatusUnauthorized
			}
			assert.Equal(t, status, ask(client.RecoveryHandler(), "GET", paths[0]).Code, "guarded by its userinfo")
		})
	}
}

func TestFaultsOfAConfig(t *testing.T) {
	long := strings.Repeat("é", 256)
	// with changes a Config that is in order.
	with := func(change func(*core.Config)) core.Config {
		config := core.Config{URL: "http://po", Topics: []string{"t"}, OriginHost: "http://app"}
		change(&config)
		return config
	}
	url := func(url string) core.Config { return with(func(c *core.Config) { c.URL = url }) }
	origin := func(origin string) core.Config { return with(func(c *core.Config) { c.OriginHost = origin }) }
	path := func(path string) core.Config { return with(func(c *core.Config) { c.RecoveryPath = path }) }
	topics := func(topics ...string) core.Config { return with(func(c *core.Config) { c.Topics = topics }) }
	consumer := func(change func(*core.Consumer)) core.Config {
		consumer := core.Consumer{Topic: "t", Target: "http://me"}
		change(&consumer)
		return with(func(c *core.Config) { c.Consumers = []core.Consumer{consumer} })
	}
	target := func(target string) core.Config { return consumer(func(c *core.Consumer) { c.Target = target }) }

	for name, test := range map[string]struct {
		config         core.Config
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
		"url port text":            {url("http://po:http"), "URL", "cannot be parsed: it must have the form"},
		"url query":                {url("http://po?x=1"), "URL", "must have no query"},
		"url empty query":          {url("http://po?"), "URL", "must have no query"},
		"url fragment":             {url("http://po#x"), "URL", "must have no fragment"},
		"url empty fragment":       {url("http://po#"), "URL", "must have no fragment"},
		"url white space":          {url(" http://po\n"), "URL", "white space"},
		"url control character":    {url("http://p\x01o"), "URL", "control character"},
		"url host character":       {url("http://p^o"), "URL", "the host contains"},
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
		"origin too long":          {origin("http://u:SECRET@" + strings.Repeat("a", 220)), "OriginHost", "the server accepts at most 255"},
		"path no slash":            {path("messages/"), "RecoveryPath", "must begin with a slash"},
		"path query":               {path("/a?b"), "RecoveryPath", `contains '?'`},
		"path fragment":            {path("/a#b"), "RecoveryPath", `contains '#'`},
		"path space":               {path("/a b"), "RecoveryPath", `contains ' '`},
		"path braces":              {path("/{a}"), "RecoveryPath", `contains '{'`},
		"path colon":               {path("/:a"), "RecoveryPath", `contains ':'`},
		"path asterisk":            {path("/*a"), "RecoveryPath", `contains '*'`},
		"path percent":             {path("/%2e"), "RecoveryPath", `contains '%'`},
		"path not ASCII":           {path("/é"), "RecoveryPath", `contains 'é'`},
		"path not UTF-8":           {path("/\xff"), "RecoveryPath", `contains '�'`},
		"path dots":                {path("/a/../b"), "RecoveryPath", "dots"},
		"path dot":                 {path("/a/."), "RecoveryPath", "dots"},
		"path empty segment":       {path("//a"), "RecoveryPath", "empty segment"},
		"path too long":            {path("/" + strings.Repeat("a", 254)), "RecoveryPath", "at most 255"},
		"topic empty":              {topics("t", ""), "Topics[1]", "is blank"},
		"topic blank":              {topics("\t "), "Topics[0]", "is blank"},
		"topic long":               {topics(long), "Topics[0]", "has 256 characters"},
		"topic UTF-8":              {topics("\xff"), "Topics[0]", "is not valid UTF-8"},
		"topic NUL":                {topics("a\x00b"), "Topics[0]", "contains a NUL"},
		"topic twice":              {topics("t", "u", "t"), "Topics[2]", "is the same as Topics[0]"},
		"consumer topic":           {consumer(func(c *core.Consumer) { c.Topic = "" }), "Consumers[0].Topic", "is blank"},
		"consumer type":            {consumer(func(c *core.Consumer) { c.Type = "smtp" }), "Consumers[0].Type", `is "smtp"; it must be "http" or "pubsub"`},
		"target missing":           {target(""), "Consumers[0].Target", "is required"},
		"target long":              {target("http://" + long), "Consumers[0].Target", "at most 255"},
		"target NUL":               {target("http://me/\x00"), "Consumers[0].Target", "contains a NUL"},
		"target UTF-8":             {target("http://me/\xff"), "Consumers[0].Target", "is not valid UTF-8"},
		"target no scheme":         {target("user:SECRET@me"), "Consumers[0].Target", "must begin with"},
		"target no host":           {target("http:///x"), "Consumers[0].Target", "has no host"},
		"target password":          {target("http://user:SEC/RET@me"), "Consumers[0].Target", "userinfo must be percent-encoded"},
		"target port":              {target("http://user:SECRET@me:0"), "Consumers[0].Target", "port"},
		"pubsub target missing":    {consumer(func(c *core.Consumer) { c.Type, c.Target = core.PubSub, " " }), "Consumers[0].Target", "is required"},
		"pubsub target long":       {consumer(func(c *core.Consumer) { c.Type, c.Target = core.PubSub, long }), "Consumers[0].Target", "at most 255"},
		"consumer timeout":         {consumer(func(c *core.Consumer) { c.Timeout = -1 }), "Consumers[0].Timeout", "is negative"},
		"consumer timeout broken":  {consumer(func(c *core.Consumer) { c.Timeout = 1500 * time.Millisecond }), "Consumers[0].Timeout", "is 1.5s; the server requires whole seconds"},
		"consumer retry too large": {consumer(func(c *core.Consumer) { c.Retry = (math.MaxInt32 + 1) * time.Second }), "Consumers[0].Retry", "at most 2147483647"},
		"chunk negative":           {consumer(func(c *core.Consumer) { c.ChunkSize = -1 }), "Consumers[0].ChunkSize", "is negative"},
		"timeout":                  {with(func(c *core.Config) { c.Timeout = -1 }), "Timeout", "is negative"},
		"bulk timeout":             {with(func(c *core.Config) { c.BulkTimeout = -1 }), "BulkTimeout", "is negative"},
		"relay rate":               {with(func(c *core.Config) { c.RelayRate = -1 }), "RelayRate", "is negative"},
		"bulk limit negative":      {with(func(c *core.Config) { c.BulkLimit = -1 }), "BulkLimit", "is negative"},
		"bulk limit too large":     {with(func(c *core.Config) { c.BulkLimit = 3001 }), "BulkLimit", "is 3001; the server accepts at most 3000"},
		"recovery, no credentials": {core.Config{URL: "http://po", OriginHost: "app:8080", RecoveryEnabled: true}, "OriginHost",
			"put USER:PASSWORD@ before the host, or set AllowOpenRecovery"},
		"recovery without origin": {core.Config{URL: "http://po", RecoveryEnabled: true}, "OriginHost", "is required with RecoveryEnabled"},
		"same consumer twice": {with(func(c *core.Config) {
			c.Consumers = []core.Consumer{{Topic: "t", Target: "http://me"}, {Topic: "t", Target: "http://me", Type: core.HTTP, Paused: true}}
		}), "Consumers[1]", "Consumers[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := core.NewClient(test.config)
			assert.Nil(t, client)
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
	_, err := core.NewClient(core.Config{URL: "http://po", Consumers: []core.Consumer{{Topic: "t", Target: "http://me", ChunkSize: int(size)}}})
	assert.Contains(t, faultsOf(t, err)["Consumers[0].ChunkSize"], "at most 2147483647")
}

func TestAllFaultsOfAConfigAreTold(t *testing.T) {
	_, err := core.NewClient(core.Config{
		Topics: []string{""}, RecoveryPath: "x", Timeout: -1, BulkTimeout: -1, BulkLimit: -1,
		Consumers: []core.Consumer{{Type: "x", Timeout: -1, Retry: -1, ChunkSize: -1}},
	})
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
		_, err := core.NewClient(core.Config{Batching: core.Batching{Payloads: -1, Bytes: -1, InFlight: -1, MaxMessages: -1, MaxBytes: -1}})
		require.EqualError(t, err, want)
	}
}

func TestConsumersThatDiffer(t *testing.T) {
	newTestClient(t, core.Config{URL: "http://po", Consumers: []core.Consumer{ // topic, target or type tell them apart
		{Topic: "t", Target: "http://me"},
		{Topic: "t", Target: "http://me", Type: core.PubSub},
		{Topic: "u", Target: "http://me"},
		{Topic: "t", Target: "http://me/"},
	}})
}

func TestReportsShowTargetsWithoutUserinfo(t *testing.T) {
	for target, want := range map[string]string{
		"http://us:SECRET@me:80/x?y=a@b": "http://me:80/x?y=a@b",
		"http://me/@user":                "http://me/@user",
		"http://us:SEC/RET@me/x":         "http://me/x",
		"http://us:SEC%RET@me/x":         "http://me/x",
		"us:SECRET@me/x":                 "me/x",
		"http://a@SECRET@me":             "http://me",
		"projects/p/topics/t":            "projects/p/topics/t",
	} {
		client := newTestClient(t, core.Config{ // PubSub, whose target may be any text
			URL: testServer, Consumers: []core.Consumer{{Topic: "t", Target: target, Type: core.PubSub}},
			HTTPClient: &http.Client{Transport: refusing},
		})
		report, err := client.SetupConsumers(t.Context())
		require.Error(t, err)
		require.Len(t, report.Consumers, 1)
		assert.Equal(t, want, report.Consumers[0].Target)
		assert.NotContains(t, err.Error(), "SECRET")
	}
}
