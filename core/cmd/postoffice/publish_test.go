package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// odd are messages that a program which decodes and encodes would change.
var odd = []string{
	`{"z":1,"a":1.0,"big":123456789012345678901234567890,"e":1E+2,"zero":-0.0}`,
	`{"html":"<&>","escaped":"\u00e4\/\u2028","plain":"ä` + "\u2028" + `"}`,
	`{"twice":1,"twice":2}`,
}

// numbered makes lines of messages.
func numbered(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "{\"n\":%d}\n", i+1)
	}
	return text.String()
}

func TestPublishArgument(t *testing.T) {
	server := office(t)
	address := withPassword(server.URL())
	for _, text := range odd {
		var got publishResult
		run(t, "publish", "orders", text, "--json", "--url", address).is(exit.OK).decode(&got)
		assert.Equal(t, publishResult{Topic: "orders", Accepted: 1, Delivered: 1}, got)
	}
	assert.Equal(t, odd, payloads(server))
	assert.Equal(t, "1 message accepted\n", run(t, "publish", "orders", "{}", "-a", "region=north", "-a", "x=a=b", "--url", address).is(exit.OK).stdout)
	messages := server.MessagesOf("orders")
	assert.JSONEq(t, `{"region":"north","x":"a=b"}`, string(messages[len(messages)-1].Attributes))
}

func TestPublishLater(t *testing.T) {
	server := office(t)
	at := time.Date(2095, 1, 31, 9, 0, 0, 0, time.UTC)
	run(t, "publish", "orders", "{}", "--at", "2095-01-31T10:00:00+01:00", "--url", server.URL()).is(exit.OK)
	runWith(t, numbered(3), "publish", "orders", "--in", "30m", "--url", server.URL()).is(exit.OK)
	messages := server.MessagesOf("orders")
	require.Len(t, messages, 4)
	assert.Equal(t, at, messages[0].DeliverAt.UTC())
	assert.WithinRange(t, messages[1].DeliverAt, time.Now().Add(25*time.Minute), time.Now().Add(30*time.Minute))
	assert.Equal(t, messages[1].DeliverAt, messages[3].DeliverAt)
}

func TestPublishLines(t *testing.T) {
	server := office(t)
	want := strings.Fields(numbered(1234))
	var got publishResult
	runWith(t, numbered(1234), "publish", "orders", "--json", "--url", server.URL()).is(exit.OK).decode(&got)
	assert.Equal(t, publishResult{Topic: "orders", Accepted: 1234, Delivered: 1234}, got)
	assert.Equal(t, want, payloads(server))
	assert.Len(t, server.Requests(), 3)

	run(t, "publish", "orders", "--file", textFile(t, strings.Join(odd, "\r\n")), "--url", server.URL(), "--bulk-limit", "2").is(exit.OK)
	runWith(t, "{\"n\":0}", "publish", "orders", "--file", "-", "--url", server.URL()).is(exit.OK)
	assert.Equal(t, append(append(want, odd...), `{"n":0}`), payloads(server))
}

func TestPublishSingle(t *testing.T) {
	server := office(t)
	document := "{\n  \"id\": 7,\n  \"text\": \"a  b\"\n}\n"
	runWith(t, document, "publish", "orders", "--url", server.URL()).is(exit.Failed).says("stdin: line 1 ends before its JSON does", "--single")
	assert.Empty(t, server.Requests())
	runWith(t, document, "publish", "orders", "--single", "--url", server.URL()).is(exit.OK)
	assert.Equal(t, []string{`{"id":7,"text":"a  b"}`}, payloads(server))
	runWith(t, strings.Repeat("x", 9_000_000), "publish", "orders", "--single", "--url", server.URL()).is(exit.Failed).says("longer than")
}

// TestPublishBadPayload has an error that names the problem, never the payload.
func TestPublishBadPayload(t *testing.T) {
	server := office(t)
	for payload, problem := range map[string]string{
		`{"card":"private"`:          "the PAYLOAD ends before its JSON does",
		`{"card":private}`:           "the PAYLOAD is not valid JSON at byte 9",
		`["private"]`:                "the PAYLOAD is a JSON list",
		`"private"`:                  "the PAYLOAD is a JSON string",
		`{"card":"private\u0000"}`:   "the PAYLOAD has card, which contains a NUL",
		"":                           "the PAYLOAD is empty",
		`{"private":1} {"private":}`: "something after its JSON, at byte 14",
	} {
		var got publishResult
		r := run(t, "publish", "orders", payload, "--json", "--url", server.URL()).is(exit.Failed).says(problem).decode(&got)
		assert.Equal(t, 1, got.Invalid)
		assert.NotContains(t, r.stdout+r.stderr, "private")
	}
	run(t, "publish", " ", "{}", "--url", server.URL()).is(exit.Usage).says("topic is blank")
	runWith(t, numbered(3), "publish", " ", "--url", server.URL()).is(exit.Usage).says("topic is blank", "not tried: line 1 ")
	assert.Empty(t, server.Requests())
}

func TestPublishEmptyInput(t *testing.T) {
	server := office(t)
	for _, input := range []string{"", "\n\n  \n"} {
		var got publishResult
		runWith(t, input, "publish", "orders", "--json", "--url", server.URL()).is(exit.OK).says("input was empty").decode(&got)
		assert.Equal(t, publishResult{Topic: "orders"}, got)
	}
	assert.Empty(t, server.Requests())
	run(t, "publish", "orders", "--file", t.TempDir(), "--url", server.URL()).is(exit.Usage).says("is a directory")
	run(t, "publish", "orders", "--file", "missing", "--url", server.URL()).is(exit.Usage).says("missing", "check --file")
}

func TestPublishWithoutServer(t *testing.T) {
	address := nowhere(t)
	run(t, "publish", "orders", "{}", "--url", address).is(exit.Unreachable).says("refused", "running")
	var got publishResult
	runWith(t, numbered(10), "publish", "orders", "--json", "--url", address).is(exit.Unreachable).
		says("refused", "not accepted: lines 1-10", "tail -n +11").decode(&got)
	assert.Equal(t, 10, got.NotAccepted)
	assert.Equal(t, []string{"1-10"}, got.NotAcceptedLines)
	assert.Equal(t, 11, got.NextLine)
}

func TestPublishUnknownTopic(t *testing.T) {
	server := office(t)
	run(t, "publish", "ordres", "{}", "--url", server.URL()).is(exit.Failed).says("topic is invalid", `configure topics --topic "ordres"`)
	runWith(t, numbered(3), "publish", "ordres", "--url", server.URL()).is(exit.Failed).says(`configure topics --topic "ordres"`)

	// One that the settings declare is created.
	c := prepare(t, []string{"POSTOFFICE_TOPICS=refunds", "POSTOFFICE_ORIGIN_HOST=shop"}, "publish", "refunds", "{}", "--url", server.URL())
	c.start().wait().is(exit.OK).says(`the topic "refunds" has no consumer`, "discarded 1 message")
	assert.Len(t, server.ThrownAway(), 1)
}

func TestPublishServerFailsMidway(t *testing.T) {
	server := office(t)
	server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, len(server.Messages()) >= 200 })
	var got publishResult
	runWith(t, numbered(1000), "publish", "orders", "--json", "--bulk-limit", "100", "--url", server.URL()).
		is(exit.Partly).says("503", "not accepted: lines 201-300", "tail -n +301").decode(&got)
	assert.Equal(t, 200, got.Accepted)
	assert.Equal(t, 301, got.NextLine)
	assert.Len(t, server.Messages(), 200)
}

func TestPublishInvalidLines(t *testing.T) {
	input := "{\"n\":1}\n{\"private\n{\"n\":2}\n[\"private\"]\n{\"n\":3}\n"
	server := office(t)
	var got publishResult
	r := runWith(t, input, "publish", "orders", "--json", "--url", server.URL()).is(exit.Partly).
		says("stdin: line 2 ends before its JSON does", "not tried: line 2").decode(&got)
	assert.Equal(t, 1, got.Accepted)
	assert.Equal(t, 1, got.Invalid)
	assert.Equal(t, 2, got.NextLine)
	assert.Equal(t, []string{`{"n":1}`}, payloads(server))
	assert.NotContains(t, r.stdout+r.stderr, "private")

	server = office(t)
	got = publishResult{}
	r = runWith(t, input, "publish", "orders", "--json", "--skip-invalid", "--url", server.URL()).is(exit.Partly).
		says("line 2 ends before its JSON does; skipped", "line 4 is a JSON list").decode(&got)
	assert.Equal(t, 3, got.Accepted)
	assert.Equal(t, 2, got.Invalid)
	assert.Equal(t, 2, got.Problems[0].Line)
	assert.Equal(t, 4, got.Problems[1].Line)
	assert.Zero(t, got.NextLine)
	assert.Equal(t, []string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, payloads(server))
	assert.NotContains(t, r.stdout+r.stderr, "private")
}

// TestPublishToOutbox has the server gone, then back: what was stored is
// delivered.
func TestPublishToOutbox(t *testing.T) {
	server := postofficetest.NewServer()
	t.Cleanup(server.Close)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	server.Stop()
	path := t.TempDir() + "/outbox.db"

	var got publishResult
	runWith(t, numbered(1500), "publish", "orders", "--json", "--url", server.URL(), "--outbox", path).is(exit.OK).decode(&got)
	assert.Equal(t, 1500, got.Accepted)
	assert.Equal(t, 1500, got.Stored)
	assert.Zero(t, got.Delivered)
	assert.Len(t, got.StoredIDs, 100)
	assert.Contains(t, run(t, "publish", "orders", odd[0], "--url", server.URL(), "--outbox", path).is(exit.OK).stdout, "0 delivered, 1 stored")
	var count countResult
	run(t, "outbox", "count", "--json", "--outbox", path).is(exit.OK).decode(&count)
	assert.Equal(t, 1501, count.Pending)

	var delivered deliverResult
	run(t, "outbox", "deliver", "--json", "--for", "1s", "--outbox", path, "--url", server.URL()).is(exit.Unreachable).
		says("1501 pending and 0 dead").decode(&delivered)
	assert.Equal(t, 1501, delivered.Pending)
	require.NoError(t, server.Restart())
	delivered = deliverResult{}
	run(t, "outbox", "deliver", "--json", "--outbox", path, "--url", server.URL()).is(exit.OK).says("no consumer").decode(&delivered)
	assert.Equal(t, deliverResult{Delivered: 1501}, delivered)
	assert.ElementsMatch(t, append(strings.Fields(numbered(1500)), odd[0]), payloads(server))
}

// TestPublishDead has the server refuse a message permanently.
func TestPublishDead(t *testing.T) {
	server := office(t)
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, strings.Contains(string(body), `"n":2}`) })
	path := t.TempDir() + "/outbox.db"
	var got publishResult
	runWith(t, numbered(3), "publish", "orders", "--json", "--url", server.URL(), "--outbox", path).is(exit.Partly).
		says("refuses 1 message permanently", "outbox list --state dead").decode(&got)
	assert.Equal(t, 3, got.Accepted)
	assert.Equal(t, 2, got.Delivered)
	assert.Equal(t, 1, got.Dead)
	run(t, "outbox", "retry", "--all", "--state", "dead", "--outbox", path).is(exit.OK).says("outbox deliver")
	var delivered deliverResult
	run(t, "outbox", "deliver", "--json", "--outbox", path, "--url", server.URL()).is(exit.Partly).says("--state dead").decode(&delivered)
	assert.Equal(t, deliverResult{Dead: 1}, delivered)
}
