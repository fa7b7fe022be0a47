package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// freeAddresses lets the services listen anywhere.
var freeAddresses = []string{"-shop", "127.0.0.1:0", "-billing", "127.0.0.1:0"}

// tellStory runs the program, checks the story, and returns it.
func tellStory(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out strings.Builder
	require.NoError(t, run(ctx, args, &out), "%s", &out)
	story := out.String()
	assert.Contains(t, story, "Billing answers 401: ")
	stored := regexp.MustCompile(`The shop answers 202: message (\S+) is stored\.`).FindStringSubmatch(story)
	require.NotNil(t, stored, story)
	assert.Contains(t, story, "Delivery 1 of message "+stored[1]+". Billing answers 204: it books the order.\n")
	assert.Contains(t, story, "Delivery 2 of message "+stored[1]+". Billing answers 204: it has handled that message before, and ignores it.\n")
	assert.Contains(t, story, "A worker of the inbox has packed the order once: the inbox has left out the copy.\n")
	assert.True(t, strings.HasSuffix(story, "\n2 deliveries, 1 order booked.\n"), story)
	return story
}

func TestServerInTheProcess(t *testing.T) {
	t.Setenv("POSTOFFICE_URL", "")
	tellStory(t, freeAddresses...)
}

// TestServerOfYourOwn looks at what the server has seen.
func TestServerOfYourOwn(t *testing.T) {
	server := postofficetest.Start(t)
	t.Setenv("POSTOFFICE_URL", server.URL())
	tellStory(t, freeAddresses...)

	messages := server.MessagesOf(topic)
	require.Len(t, messages, 2)
	assert.JSONEq(t, `{"number":7,"item":"teapot"}`, string(messages[0].Payload))
	assert.JSONEq(t, string(messages[0].Payload), string(messages[1].Payload))
	assert.JSONEq(t, string(messages[0].Attributes), string(messages[1].Attributes), "both have the same message_id")
	assert.Contains(t, string(messages[0].Attributes), `"message_id"`)
	require.NoError(t, server.WaitForDeliveries(t.Context(), 4))
	for _, made := range server.Deliveries() {
		assert.Equal(t, 204, made.Status)
	}
}

func TestBadArguments(t *testing.T) {
	t.Setenv("POSTOFFICE_URL", "")
	refused := func(args ...string) string {
		var out strings.Builder
		err := run(t.Context(), append(args, freeAddresses...), &out)
		require.Error(t, err)
		return err.Error() + out.String()
	}
	assert.Contains(t, refused("-nonsense"), "-server URL")
	assert.Contains(t, refused("-server", "ftp://postoffice.test"), "URL")

	// A port that was free a moment ago, where nobody listens.
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	taken := run(t.Context(), []string{"-shop", address, "-billing", "127.0.0.1:0"}, &strings.Builder{})
	assert.ErrorContains(t, taken, "starting the shop")
	taken = run(t.Context(), []string{"-shop", "127.0.0.1:0", "-billing", address}, &strings.Builder{})
	assert.ErrorContains(t, taken, "starting billing")
	require.NoError(t, listener.Close())
	complaint := refused("-server", "http://user:swordfish@"+address)
	assert.Contains(t, complaint, "starting the shop")
	assert.NotContains(t, complaint, "swordfish")
}

// TestOtherDeliveries lets messages of other runs come, and a copy while the
// first is being handled: neither counts.
func TestOtherDeliveries(t *testing.T) {
	b := &billing{visits: make(chan *visit, 3)}
	b.visits <- &visit{messageID: "other", booked: true, status: 204}
	b.visits <- &visit{messageID: "mine", status: 409}
	b.visits <- &visit{messageID: "mine", status: 204}
	var out strings.Builder
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(&out, format+"\n", args...) }
	deliveries := 0
	require.NoError(t, expectDelivery(t.Context(), say, b, "mine", &deliveries))
	assert.Equal(t, 1, deliveries)
	assert.Empty(t, b.visits)
	assert.Contains(t, out.String(), "Billing answers 409: the server will deliver it again later.\n")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := expectDelivery(ctx, say, b, "mine", &deliveries)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "delivery 2 did not arrive")
}
