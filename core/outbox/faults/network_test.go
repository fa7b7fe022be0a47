//go:build unix

package faults

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// networkFaults are what goes wrong between an app and a server that is up.
var networkFaults = map[string]func(*office, *proxy){
	// The connection is reset while a request is being sent.
	"reset mid-body": func(_ *office, p *proxy) { p.behave(after(5_000, reset)) },
	// The other side falls silent, and the connection stays open.
	"half-open": func(_ *office, p *proxy) { p.behave(after(50_000, freeze)) },
	// The server has taken the messages, and the app does not learn of it.
	"201 lost": func(s *office, _ *proxy) {
		s.FailWhen(func(*http.Request, []byte) (int, bool) {
			if rand.IntN(5) == 0 {
				s.DropNext(1) // this one
			}
			return 0, false
		})
	},
	// Half of the requests fail, some of them with Retry-After.
	"500, 503 and 429": func(s *office, _ *proxy) {
		s.FailWhen(func(*http.Request, []byte) (int, bool) {
			switch rand.IntN(6) {
			case 0:
				return http.StatusInternalServerError, true
			case 1:
				return http.StatusServiceUnavailable, true
			case 2:
				s.AnswerNext(1, postofficetest.Answer{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
				return http.StatusTooManyRequests, true
			}
			return 0, false
		})
	},
}

// after judges a connection to pass some bytes, up to so many, before
// something happens to it.
func after(most int, then verdict) func() func([]byte) verdict {
	return func() func([]byte) verdict {
		left := rand.IntN(most)
		return func(data []byte) verdict {
			if left -= len(data); left <= 0 {
				return then
			}
			return pass
		}
	}
}

// TestNetworkFaults publishes while requests fail in one way or another.
// Every Publish succeeds, nothing is lost, a message arrives twice only if an
// answer for it was missing, and once more for each time at most; and the app
// has no more goroutines afterwards than before.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	for name, cause := range networkFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, nil, func(t *testing.T, k kind) {
				withNetworkFault(t, k, cause, app{Publishers: 8, Modes: []core.Mode{core.Off, core.Durable}, Rate: 500})
			})
		})
	}
}

// TestNetworkFaultsOfSharedRequests is TestNetworkFaults with so many callers that
// they share requests: what is missing then is an answer for many messages.
func TestNetworkFaultsOfSharedRequests(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"reset mid-body", "201 lost", "500, 503 and 429"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := withNetworkFault(t, embedded(), networkFaults[name], app{
				Publishers: 64, Modes: []core.Mode{core.Off}, Rate: 2000, Posts: 1,
			})
			assert.Greater(t, p.sharedCount(), 20, "messages of shared requests")
		})
	}
}

func withNetworkFault(t *testing.T, k kind, cause func(*office, *proxy), a app) *process {
	length := byForm(20*time.Second, time.Second)
	place, server, l := k.create(t), newOffice(t), newLedger()
	way := newProxy(t, strings.TrimPrefix(server.URL(), "http://"))
	a.Store, a.Place, a.Server, a.Run, a.Lease, a.Watched = k.name, place, "http://"+way.address(), "r", 10*time.Second, true
	p := start(t, a)
	p.await(t, lineStarted)
	require.NoError(t, server.WaitForMessages(t.Context(), topic, 300))
	before := p.goroutines(t, server)

	p.tell(t, "publish")
	cause(server, way)
	<-time.After(length)
	during := p.acceptedCount()
	// Connections that are bad already stay so until the app gives them up.
	way.behave(nil)
	server.Resume()
	var goroutines int
	until(t, func() bool { goroutines = p.goroutines(t, server); return goroutines <= before }, "there are no more than %d goroutines", before)
	p.stop(t)
	require.Empty(t, p.refused)
	l.accept(p, false)
	drain(t, k, place, server, time.Second) // what has arrived, and is not deleted
	l.arrive(server)
	look(t, k, place, l)
	l.report(t, "%v, %d answers missing, goroutines %d before and %d after", length, p.ambiguousCount(), before, goroutines)
	assert.Empty(t, l.stored)
	assert.Empty(t, l.tooMany())
	assert.Greater(t, during, int(length.Seconds()*500)/byForm(4, 20), "the app was not held up")
	return p
}
