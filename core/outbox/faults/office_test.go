//go:build unix

package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// office is a fake server with the topic, and one consumer of it to which
// nothing is sent.
type office struct {
	*postofficetest.Server

	mu     sync.Mutex
	newest int64           // number of the newest message that was read
	ids    map[string]bool // ids of the messages that were read
}

// newOffice starts a server. It is closed when the test ends.
func newOffice(t *testing.T) *office {
	t.Helper()
	s := &office{Server: listen(t, freeAddress), ids: make(map[string]bool)}
	t.Cleanup(func() { s.Close() })
	s.furnish(t)
	return s
}

// freeAddress draws an address with a port below the ones that systems give to
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
// empty one with the same address, so that messages do not pile up in memory.
func (s *office) renew(t *testing.T, l *ledger) {
	t.Helper()
	address := strings.TrimPrefix(s.URL(), "http://")
	s.Close()
	l.arrive(s)
	s.Server = listen(t, func() string { return address })
	s.newest, s.ids = 0, make(map[string]bool)
	s.furnish(t)
}

// arrived returns the ids of the messages that have arrived. Tests ask often, so each
// message is decoded once. The mutex is held.
func (s *office) arrived() map[string]bool {
	latest := s.newest
	for _, message := range s.Operator().RecentMessages(0, 1, nil) {
		latest = message.Number
	}
	for _, message := range s.Operator().RecentMessages(latest+1, int(latest-s.newest), nil) {
		s.ids[idOf(message.Payload)] = true
	}
	s.newest = latest
	return s.ids
}

// distinct counts the different messages that have arrived.
func (s *office) distinct() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrived())
}

// has tells whether a message has arrived.
func (s *office) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived()[id]
}
