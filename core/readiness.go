package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/storeguard"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of the readiness check.
const (
	// readinessTTL is how long a result of the outbox check is reused.
	readinessTTL = time.Second
	// readinessTimeout bounds the outbox check.
	readinessTimeout = 5 * time.Second
)

// Ready reports whether the client accepts messages: nil means yes. Use it for
// the readiness probe of an orchestrator. While the server is down, messages go
// to the outbox and the client stays ready: removing every replica of the app
// from service would turn an outage of the server into an outage of the app.
// Ready also does not wait for setup, which continues in the background. For
// the state of the server, use [Client.Health].
//
// Ready returns ErrNotStarted until Start has succeeded, and ErrClosed as soon
// as Stop begins, so that no new requests arrive while the client delivers its
// messages. It returns the outbox's error if no message can be accepted: the
// circuit breaker is not closed and the outbox cannot be used. Ready checks the
// outbox only while the breaker is not closed, at most once a second: by its
// Probe method if it is an [outbox.Prober], otherwise by Check.
//
// Two more states of the outbox are always errors. First, the outbox has failed
// permanently and the app must restart ([outbox.Failing]); other replicas are
// not affected. Second, messages of [Memory] have been only in memory for more
// than twice Batching.MaxAge, because neither the server nor the outbox accepts
// them.
//
// Without an outbox, the client is ready while the server is down, and Publish
// returns errors. The client is also ready while the outbox is full, because
// calls wait for capacity.
func (c *Client) Ready(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := c.gate.ifOpen(func() {}); err != nil {
		return err
	}
	switch {
	case !c.started.Load():
		return ErrNotStarted
	case failureOf(c.cfg.outbox) != nil:
		return fmt.Errorf("postoffice: the outbox cannot be used until the app restarts: %w", failureOf(c.cfg.outbox))
	case c.cfg.outbox == nil:
		return nil
	}
	if messages, age, err := c.queue.AtRisk(); age > 2*c.cfg.batching.MaxAge {
		return fmt.Errorf("%s%d messages are only in memory, the oldest for %v, because the outbox cannot store them: %w",
			prefix, messages, age.Round(time.Millisecond), cmp.Or(err, errAged))
	}
	if c.office.State() == circuit.Closed {
		return nil
	}
	if c.outbox.IsOpen() {
		return fmt.Errorf("postoffice: the server is failing and the outbox cannot be used: %w", storeguard.ErrOpen)
	}
	if err := c.readiness.check(ctx, probeOf(c.cfg.outbox)); err != nil {
		return fmt.Errorf("postoffice: the server is failing and the outbox cannot be used: %w", err)
	}
	return nil
}

// probeOf returns the cheapest check of a store.
func probeOf(store outbox.Store) func(context.Context) error {
	if prober, ok := store.(outbox.Prober); ok {
		return prober.Probe
	}
	return store.Check
}

// failureOf returns why a store has failed permanently; nil if it has not.
func failureOf(store outbox.Store) error {
	if failing, ok := store.(outbox.Failing); ok {
		return failing.Failed()
	}
	return nil
}

// readiness caches the result of the outbox check.
type readiness struct {
	mu    sync.Mutex // held during a check: concurrent callers share its result
	asked time.Time
	err   error
}

// check returns the cached result, or checks the outbox again if the result is
// too old.
func (r *readiness) check(ctx context.Context, ask func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) >= readinessTTL {
		// Other callers share the result, so the check does not end with the
		// context of the first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readinessTimeout)
		defer cancel()
		r.err = ask(ctx)
		r.asked = time.Now()
	}
	return r.err
}

// ReadinessHandler responds to readiness probes with the result of [Client.Ready]:
// 200 and {"status":"ready"}, or 503 and {"status":"not ready","reason":"…"}
// with the reason "not started", "stopped" or "outbox". The response contains
// nothing else, so it needs no authorization; the error of the outbox is
// logged. The adapters do not mount the handler, because an app usually has one
// readiness endpoint for all its dependencies, which can call Ready.
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
			c.events.log.Error("readiness", "", "the app is not ready", "error", err)
			answerNotReady(w, "outbox")
		}
	})
}

// readinessAnswer is the response to a readiness probe.
type readinessAnswer struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func answerNotReady(w http.ResponseWriter, reason string) {
	answerJSON(w, http.StatusServiceUnavailable, readinessAnswer{Status: "not ready", Reason: reason})
}
