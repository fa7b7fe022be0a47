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
	newest int64           // number of the newest message that is in ids
	count  int             // messages that are in ids
	ids    map[string]bool // ids of the messages up to newest
}

// newOffice starts a server. It is closed when the test ends.
func newOffice(t *testing.T) *office {
	t.Helper()
	s := &office{Server: listen(t, freeAddress)}
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
// empty one with the same address, so that the memory of messages does
// not pile up in memory.
func (s *office) renew(t *testing.T, l *ledger) {
	t.Helper()
	address := strings.TrimPrefix(s.URL(), "http://")
	s.Close()
	l.arrive(s)
	s.Server = listen(t, func() string { return address })
	s.newest, s.count, s.ids = 0, 0, nil
	s.furnish(t)
}

// look reads the messages that have arrived since the last call. Tests ask often, so
// each message is decoded once. The mutex is held.
func (s *office) look() {
	if s.ids == nil {
		s.ids = make(map[string]bool)
	}
	const page = 20
	newest := s.newest
	for before := int64(0); ; {
		recent := s.Operator().RecentMessages(before, page, nil)
		for _, message := range recent {
			if message.Number <= s.newest {
				recent = nil
				break
			}
			newest = max(newest, message.Number)
			s.count++
			s.ids[idOf(message.Payload)] = true
			before = message.Number
		}
		if len(recent) < page {
			break
		}
	}
	s.newest = newest
}

// counts counts the messages that have arrived, and the different ones.
func (s *office) counts() (arrived, different int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	return s.count, len(s.ids)
}

// distinct counts the different messages that have arrived.
func (s *office) distinct() int {
	_, different := s.counts()
	return different
}

// has tells whether a message has arrived.
func (s *office) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	return s.ids[id]
}
