package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// djangoSettings are settings with the keys of the Django client.
const djangoSettings = `{
	"URL": "ADDRESS", "ORIGIN_HOST": "http://app:swordfish@shop:8080", "TOPICS": ["invoices", "refunds"], "RECOVERY_ENABLED": true,
	"CONSUMERS": [{"topic": "invoices", "target": "http://app:swordfish@billing/hook", "timeout": 7}], "TIMEOUT": 5
}`

func TestConfigure(t *testing.T) {
	server := postofficetest.Start(t)
	file := textFile(t, strings.Replace(djangoSettings, "ADDRESS", server.URL(), 1))

	var got configureResult
	r := run(t, "configure", "consumers", "--json", "--settings", file).is(exit.Failed).says("configure topics", "topic is invalid").decode(&got)
	assert.Empty(t, got.Topics)
	assert.Equal(t, "failed", got.Consumers[0].Status)
	assert.NotEmpty(t, got.Consumers[0].Error)
	assert.NotEmpty(t, r.stderr)

	run(t, "configure", "topics", "--json", "--settings", file).is(exit.OK).decode(&got)
	assert.Equal(t, []configuredTopic{{Topic: "invoices", Status: "created"}, {Topic: "refunds", Status: "created"}}, got.Topics)
	assert.Empty(t, got.Consumers)
	require.Len(t, server.Topics(), 2)
	assert.Equal(t, "http://app:swordfish@shop:8080/postoffice/messages/", server.Topics()[0].OriginHost)
	assert.True(t, server.Topics()[0].RecoveryEnabled)

	text := run(t, "configure", "all", "--settings", file).is(exit.OK).says("2 of 3 existed already")
	assert.Equal(t, "exists   topic \"invoices\"\nexists   topic \"refunds\"\ncreated  http consumer \"http://billing/hook\" of topic \"invoices\"\n", text.stdout)
	require.Len(t, server.Consumers(), 1)
	assert.Equal(t, "http://app:swordfish@billing/hook", server.Consumers()[0].Target)

	// Flags replace what the file says.
	run(t, "configure", "consumers", "--json", "--settings", file, "--consumer", "refunds=http://other/").is(exit.OK).decode(&got)
	assert.Equal(t, []configuredConsumer{{Topic: "refunds", Target: "http://other/", Type: "http", Status: "created"}}, got.Consumers)
	run(t, "configure", "topics", "--url", server.URL(), "--topic", "more", "--origin-host", "shop").is(exit.OK)
	assert.Len(t, server.Topics(), 3)
}

func TestConfigurePartly(t *testing.T) {
	server := postofficetest.Start(t)
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 500, strings.Contains(string(body), "refunds") })
	file := textFile(t, strings.Replace(djangoSettings, "ADDRESS", server.URL(), 1))
	var got configureResult
	run(t, "configure", "all", "--json", "--settings", file).is(exit.Partly).says(`topic "refunds"`, "500").decode(&got)
	assert.Equal(t, "created", got.Topics[0].Status)
	assert.Equal(t, "failed", got.Topics[1].Status)
	assert.Equal(t, "created", got.Consumers[0].Status)
}

func TestConfigureWithoutServer(t *testing.T) {
	run(t, "configure", "topics", "--url", nowhere(t), "--topic", "a", "--origin-host", "b").is(exit.Unreachable).says("refused", "running")
}

func TestConfigureNothing(t *testing.T) {
	server := postofficetest.Start(t)
	var got configureResult
	run(t, "configure", "all", "--json", "--url", server.URL()).is(exit.OK).says("nothing to do").decode(&got)
	assert.Equal(t, configureResult{[]configuredTopic{}, []configuredConsumer{}}, got)
	assert.Empty(t, server.Requests())
}
