//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// office is a fake server with the topic, and one consumer of it to which
// nothing is sent.
type office struct{ *postofficetest.Server }

// newOffice starts a server. It is closed when the test ends.
func newOffice(t *testing.T) *office {
	t.Helper()
	s := &office{listen(t, freeAddress)}
	t.Cleanup(func() { s.Close() })
	s.furnish(t)
	return s
}

// freeAddress draws an address with a port below those that systems give to
// outgoing connections, so that it stays free while the server is down.
func freeAddress() string { return fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(12_000)) }

// listen starts a server at an address, or at another one if that is taken.
func listen(t *testing.T, address func() string) *postofficetest.Server {
	t.Helper()
	var server *postofficetest.Server
	require.Eventually(t, func() bool {
		var err error
		server, err = postofficetest.Listen(address())
		return err == nil
	}, patience, 10*time.Millisecond, "there is an address to listen at")
	return server
}

func (s *office) furnish(t *testing.T) {
	t.Helper()
	require.NoError(t, s.AddTopic(postofficetest.Topic{Name: topic, OriginHost: "http://app.test/"}))
	_, err := s.AddConsumer(postofficetest.Consumer{Topic: topic, Target: "sink", Type: postofficetest.TypePubSub})
	require.NoError(t, err)
}

// renew notes in the ledger what has arrived and replaces the server by an
// empty one with the same address, so that what is known of messages does
// not pile up in memory.
func (s *office) renew(t *testing.T, l *ledger) {
	t.Helper()
	address := strings.TrimPrefix(s.URL(), "http://")
	s.Close()
	l.arrive(s)
	s.Server = listen(t, func() string { return address })
	s.furnish(t)
}

// count counts the messages that have arrived, and the different ones.
func (s *office) count() (arrived, different int) {
	ids := map[string]bool{}
	messages := s.Messages()
	for _, message := range messages {
		ids[idOf(message.Payload)] = true
	}
	return len(messages), len(ids)
}

// distinct counts the different messages that have arrived.
func (s *office) distinct() int {
	_, different := s.count()
	return different
}

// has tells whether a message has arrived.
func (s *office) has(id string) bool {
	return slices.ContainsFunc(s.Messages(), func(m postofficetest.Message) bool { return idOf(m.Payload) == id })
}
