package core

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Figures of the recovery list.
const (
	// recoveryLimit is how many messages one list holds at most.
	recoveryLimit = 100
	// recoveryBytes bounds the size of a list.
	recoveryBytes = 8_000_000
)

// RecoveryHandler serves the outbox to the server's rescuer, below
// Config.RecoveryPath:
//
//   - GET RecoveryPath lists up to 100 pending messages as a JSON array of
//     objects with the keys id, topic, payload, attributes and bulk. What is
//     listed is claimed for a minute: no other list has it, and the relay does
//     not post it. The query "limit", from 1 to 100, asks for fewer. Scheduled
//     messages are listed when their time has come, because the server
//     delivers what it finds here at once.
//   - DELETE RecoveryPath + id + "/" removes a message that the server has
//     taken: 204, or 404 if there is none with that id. It shows that the run
//     which got the list goes on, and renews the claim on the rest of the list
//     to a minute as soon as less than 45 seconds of it are left.
//
// So a message that the server does not take is listed again, or posted by the
// relay, within a minute of the last DELETE of the run, and those that have
// waited longer come before it. Of several replicas the one that has given out
// the list renews the claim, at those DELETEs that reach it: behind a balancer
// a run that takes longer than a minute needs enough of them.
//
// The request must bear the userinfo of Config.OriginHost as Basic
// credentials, otherwise the answer is 401. If OriginHost has none, every
// answer is 403. With Config.AllowOpenRecovery, requests without credentials
// are served in both cases. Without an outbox the list is empty. The handler
// also works behind [http.StripPrefix].
//
// The answer must reach the server as it is: it cannot read a compressed
// body. The handler asks for that with "Cache-Control: no-transform", and
// the rescuer sends no Accept-Encoding.
func (c *Client) RecoveryHandler() http.Handler { return http.HandlerFunc(c.serveRecovery) }

// Route is a handler that an adapter mounts.
type Route struct {
	// Path is the prefix of all paths of the handler; it ends in "/".
	Path string
	// Handler serves the path and everything below it.
	Handler http.Handler
}

// Routes returns what an app has to serve for this client: the recovery
// endpoints, and what AddRoute has added. Adapters mount each of them.
func (c *Client) Routes() []Route {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	c.mounted.Store(true)
	return append([]Route{{Path: c.cfg.recoveryPath, Handler: c.RecoveryHandler()}}, c.routes...)
}

// AddRoute has adapters mount another handler, such as the page of undelivered
// messages, which outboxpage.Mount adds. It is to be called before Mount or
// Register: what comes after Routes was called is not served, and a warning in
// the log says so.
func (c *Client) AddRoute(route Route) {
	if c == nil { // Mount tells
		return
	}
	if c.mounted.Load() {
		c.cfg.logger.Warn("postoffice: a route is added after the routes were mounted, and may not be served; add it before Register", "path", route.Path)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.routes = append(c.routes, route)
}

func (c *Client) serveRecovery(w http.ResponseWriter, r *http.Request) {
	if err := c.present(); err != nil {
		answerError(w, http.StatusInternalServerError, wire.DetailKey, err.Error())
		return
	}
	open := c.cfg.allowOpenRecovery && r.Header.Get("Authorization") == ""
	switch {
	case !c.cfg.recoveryGuarded && !c.cfg.allowOpenRecovery:
		c.log.warn("recovery closed", "", "recovery request refused: OriginHost has no credentials and AllowOpenRecovery is not set")
		answerError(w, http.StatusForbidden, wire.DetailKey, "recovery needs credentials in OriginHost")
		return
	case c.cfg.recoveryGuarded && !open && !c.recoveryAuthorized(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="postoffice recovery", charset="UTF-8"`)
		answerError(w, http.StatusUnauthorized, wire.DetailKey, "credentials are missing or wrong")
		return
	}
	id := c.recoveryID(r.URL.Path)
	switch {
	case id == "" && r.Method == http.MethodGet:
		c.listRecovery(w, r)
	case id != "" && r.Method == http.MethodDelete:
		c.deleteRecovery(w, r, id)
	default:
		allowed := http.MethodGet
		if id != "" {
			allowed = http.MethodDelete
		}
		w.Header().Set("Allow", allowed)
		answerError(w, http.StatusMethodNotAllowed, wire.DetailKey, "method not allowed")
	}
}

// recoveryAuthorized compares the request's credentials with those of
// OriginHost in a time that does not depend on where they differ.
func (c *Client) recoveryAuthorized(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	sameUser := sameText(user, c.cfg.recoveryUser)
	samePassword := sameText(password, c.cfg.recoveryPassword)
	return ok && sameUser&samePassword == 1
}

// sameText compares hashes, so that not even the length shows.
func sameText(a, b string) int {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:])
}

// recoveryID takes the message's id out of a path: what follows the recovery
// path, wherever the app has mounted it, or everything where a router has
// stripped it.
func (c *Client) recoveryID(path string) string {
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	if _, rest, found := strings.Cut(path, c.cfg.recoveryPath); found {
		path = rest
	}
	return strings.Trim(path, "/")
}

func (c *Client) listRecovery(w http.ResponseWriter, r *http.Request) {
	limit, err := recoveryLimitOf(r)
	if err != nil {
		answerError(w, http.StatusBadRequest, "limit", err.Error())
		return
	}
	items := []wire.RecoveryItem{} // never null: the server's rescuer would crash
	if c.cfg.outbox != nil {
		until := time.Now().Add(recoveryLease)
		records, err := c.cfg.outbox.Claim(r.Context(), outbox.ClaimOptions{
			Limit: limit, MaxBytes: recoveryBytes, Lease: recoveryLease, SkipScheduled: true,
		})
		if err != nil {
			c.recoveryFailed(w, err)
			return
		}
		var early []outbox.Change
		var offered []outbox.Record
		for _, record := range records {
			if record.DeliverAt.After(time.Now()) {
				// The store's clock is ahead of this one. The server would
				// deliver it at once.
				early = append(early, outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, Untried: true, After: backoff(1)})
				continue
			}
			offered = append(offered, record)
			items = append(items, wire.RecoveryItem{
				ID: record.ID, Topic: record.Topic, Payload: record.Payload, Attributes: record.Attributes,
			})
		}
		c.listed.add(offered, until)
		if len(early) > 0 {
			// Should this fail, they come back when their lease ends.
			_, _ = c.cfg.outbox.Reschedule(r.Context(), early...)
		}
	}
	if len(items) > 0 {
		c.cfg.logger.Info("postoffice: messages listed for recovery", "messages", len(items))
	}
	emit(c.cfg.observer.Listed, Event{Messages: len(items), FromOutbox: true})
	answerJSON(w, http.StatusOK, items)
}

func recoveryLimitOf(r *http.Request) (int, error) {
	query := r.URL.Query()
	if !query.Has("limit") {
		return recoveryLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > recoveryLimit {
		return 0, fmt.Errorf("is not a number from 1 to %d", recoveryLimit)
	}
	return limit, nil
}

func (c *Client) deleteRecovery(w http.ResponseWriter, r *http.Request, id string) {
	deleted := 0
	if c.cfg.outbox != nil && uuid.Validate(id) == nil {
		// The server has the message. That it hangs up early is no reason to
		// keep it and have it delivered twice.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
		defer cancel()
		var err error
		if deleted, err = c.cfg.outbox.Delete(ctx, id); err != nil {
			c.recoveryFailed(w, err)
			return
		}
		c.listed.taken(id, func(changes ...outbox.Change) error {
			_, err := c.cfg.outbox.Reschedule(ctx, changes...)
			return err
		})
	}
	if deleted == 0 {
		answerError(w, http.StatusNotFound, wire.DetailKey, "no such message")
		return
	}
	c.throughput.add(deleted, 0, 0)
	emit(c.cfg.observer.Recovered, Event{Messages: deleted, FromOutbox: true})
	w.WriteHeader(http.StatusNoContent)
}

func (c *Client) recoveryFailed(w http.ResponseWriter, err error) {
	c.log.error("recovery", "", "the outbox cannot be used for recovery", "error", err)
	answerError(w, http.StatusServiceUnavailable, wire.DetailKey, "the outbox cannot be used now")
}

// answerError answers in the shape of the server's own errors.
func answerError(w http.ResponseWriter, status int, field, reason string) {
	answerJSON(w, status, map[string]any{"errors": map[string][]string{field: {reason}}})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		// A payload in the outbox that is no JSON was not put there by us.
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store, no-transform")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller has gone
}
