package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of the readiness check.
const (
	// readinessFresh is for how long an answer of the outbox is good.
	readinessFresh = time.Second
	// readinessTimeout bounds how long the check waits for the outbox.
	readinessTimeout = 5 * time.Second
)

// Ready tells whether the app may get requests, as far as publishing is
// concerned: nil when the client takes messages. It is for the readiness
// probe of an orchestrator, and does not depend on the Postoffice server
// alone: while the server is down messages go to the outbox, and taking every
// replica of the app out of service would turn its outage into one of the
// app. Nor is setup waited for, which goes on in the background. For how the
// server is, there is [Client.Health].
//
// The error is ErrNotStarted before Start has succeeded and ErrClosed from
// the beginning of Stop on, so that no new requests come while the client
// delivers what it holds. It is the outbox's own error when nothing can be
// accepted: the circuit breaker is not closed, and the outbox cannot be used.
// Only then is the outbox asked, at most once a second: by its Probe if it is an
// [outbox.Prober], by its Check otherwise.
//
// Two more states of the outbox are errors in any case. It cannot be used again
// before the app starts anew ([outbox.Failing]): only a restart mends it, and the
// other replicas have their own. Or messages of [Memory] are in memory alone for
// more than twice Batching.MaxAge, because neither the server nor the outbox
// takes them.
//
// Without an outbox the client is ready while the server is down; Publish
// returns errors then. It is ready while the outbox is full, too: calls wait for
// room.
func (c *Client) Ready(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := c.goOn(func() {}); err != nil {
		return err
	}
	switch {
	case !c.started.Load():
		return ErrNotStarted
	case c.outboxFailed() != nil:
		return fmt.Errorf("postoffice: the outbox cannot be used until the app starts anew: %w", c.outboxFailed())
	case c.cfg.outbox == nil:
		return nil
	}
	if messages, age, err := c.batcher.atRisk(); age > 2*c.cfg.batching.MaxAge {
		return fmt.Errorf("%s%d messages are in memory alone, the oldest for %v: the outbox does not take them: %w",
			prefix, messages, age.Round(time.Millisecond), cmp.Or(err, errAged))
	}
	if c.transport.breaker.state() == BreakerClosed {
		return nil
	}
	if err := c.readiness.check(ctx, probeOf(c.cfg.outbox)); err != nil {
		return fmt.Errorf("postoffice: the server fails, and the outbox cannot be used: %w", err)
	}
	return nil
}

// probeOf returns the check of a store that costs least.
func probeOf(store outbox.Store) func(context.Context) error {
	if prober, ok := store.(outbox.Prober); ok {
		return prober.Probe
	}
	return store.Check
}

// outboxFailed returns why the outbox has failed for good; nil if it has not.
func (c *Client) outboxFailed() error {
	if store, ok := c.cfg.outbox.(outbox.Failing); ok {
		return store.Failed()
	}
	return nil
}

// readiness remembers how the outbox was when Ready asked.
type readiness struct {
	mu    sync.Mutex // held while asking: who comes meanwhile gets the answer too
	asked time.Time
	err   error
}

// check tells how the outbox is, or was a moment ago.
func (r *readiness) check(ctx context.Context, ask func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) >= readinessFresh {
		// The answer is for others too, so it is waited for though who asked
		// first may be gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessTimeout)
		defer cancel()
		r.err = ask(ctx)
		r.asked = time.Now()
	}
	return r.err
}

// ReadinessHandler answers readiness probes by what [Client.Ready] says: 200
// and {"status":"ready"}, or 503 and {"status":"not ready","reason":"…"} with
// the reason "not started", "stopped" or "outbox". It tells nothing else, so
// that it needs no authorization; the outbox's error is logged. The adapters'
// Mount does not mount it: an app has one such address for all that it
// depends on, which may ask Ready as well.
func (c *Client) ReadinessHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			answerJSON(w, http.StatusMethodNotAllowed, readinessAnswer{Status: "method not allowed"})
			return
		}
		err := c.Ready(r.Context())
		switch {
		case err == nil:
			answerJSON(w, http.StatusOK, readinessAnswer{Status: "ready"})
			return
		case errors.Is(err, ErrNotStarted), c == nil:
			answerNotReady(w, "not started")
		case errors.Is(err, ErrClosed):
			answerNotReady(w, "stopped")
		default:
			c.log.error("readiness", "", "the app is not ready", "error", err)
			answerNotReady(w, "outbox")
		}
	})
}

// readinessAnswer is the answer to a readiness probe.
type readinessAnswer struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func answerNotReady(w http.ResponseWriter, reason string) {
	answerJSON(w, http.StatusServiceUnavailable, readinessAnswer{Status: "not ready", Reason: reason})
}
