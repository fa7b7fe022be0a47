package core

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of the recovery list.
const (
	// recoveryLimit is the maximum number of messages in one list.
	recoveryLimit = 100
	// recoveryBytes bounds the size of a list.
	recoveryBytes = 8_000_000
)

// RecoveryHandler serves the outbox to the server's rescuer, below
// Config.RecoveryPath:
//
//   - GET RecoveryPath lists up to 100 pending messages as a JSON array of
//     objects with the keys id, topic, payload, attributes and bulk. The listed
//     messages are claimed for a minute: no other list contains them, and the
//     relay does not post them. The query "limit", from 1 to 100, requests
//     fewer. Scheduled messages are listed only when they are due, because the
//     server delivers listed messages at once.
//   - HEAD RecoveryPath responds like GET, without a body and Content-Length. It
//     claims nothing and only checks that the outbox can be used.
//   - DELETE RecoveryPath + id + "/" removes a message that the server has
//     accepted: 204, or 404 if there is no message with that id. It shows that
//     the run that fetched the list is still active, and renews the claim on
//     the rest of the list to a minute if less than 45 seconds are left.
//
// If the server does not accept a message, the message is listed again, or
// posted by the relay, within a minute of the last DELETE of the run; messages
// that have waited longer come first. With several replicas, only the replica
// that served the list renews its claim, on each DELETE that reaches it. Behind
// a load balancer, a run that takes longer than a minute therefore needs enough
// DELETEs at that replica.
//
// The request must carry the userinfo of Config.OriginHost as Basic
// credentials, otherwise the response is 401. If OriginHost has no userinfo,
// every response is 403. With Config.AllowOpenRecovery, requests without
// credentials are accepted in both cases. Other methods get 405. Without an
// outbox the list is empty. The handler also works behind [http.StripPrefix].
//
// The server cannot read a compressed body. The handler therefore sets
// "Cache-Control: no-transform", and the rescuer sends no Accept-Encoding.
func (c *Client) RecoveryHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.present(); err != nil {
			answerError(w, http.StatusInternalServerError, wire.DetailKey, err.Error())
			return
		}
		c.recovery.serve(w, r)
	})
}

// recovery serves the outbox to the server's rescuer.
type recovery struct {
	cfg    *settings
	events *events
	listed listed
}

func (s *recovery) serve(w http.ResponseWriter, r *http.Request) {
	open := s.cfg.allowOpenRecovery && r.Header.Get("Authorization") == ""
	switch {
	case !s.cfg.recoveryGuarded && !s.cfg.allowOpenRecovery:
		s.events.log.Warn("recovery closed", "", "recovery request refused: Config.OriginHost has no credentials and AllowOpenRecovery is not set")
		answerError(w, http.StatusForbidden, wire.DetailKey, "recovery needs credentials in OriginHost")
		return
	case s.cfg.recoveryGuarded && !open && !s.authorized(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="postoffice recovery", charset="UTF-8"`)
		answerError(w, http.StatusUnauthorized, wire.DetailKey, "credentials are missing or wrong")
		return
	}
	id := s.idIn(r.URL.Path)
	switch {
	case id == "" && r.Method == http.MethodGet:
		s.list(w, r)
	case id == "" && r.Method == http.MethodHead:
		s.head(w, r)
	case id != "" && r.Method == http.MethodDelete:
		s.remove(w, r, id)
	default:
		allowed := http.MethodGet + ", " + http.MethodHead
		if id != "" {
			allowed = http.MethodDelete
		}
		w.Header().Set("Allow", allowed)
		answerError(w, http.StatusMethodNotAllowed, wire.DetailKey, "method not allowed")
	}
}

// authorized compares the request's credentials with those of OriginHost in
// constant time.
func (s *recovery) authorized(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	sameUser := sameText(user, s.cfg.recoveryUser)
	samePassword := sameText(password, s.cfg.recoveryPassword)
	return ok && sameUser&samePassword == 1
}

// sameText compares hashes, so that the time does not reveal the length.
func sameText(a, b string) int {
	hashA, hashB := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(hashA[:], hashB[:])
}

// idIn returns the message id in a path: the part after the recovery path,
// wherever the app has mounted it, or the whole path if a router has stripped
// the recovery path.
func (s *recovery) idIn(path string) string {
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	if _, rest, found := strings.Cut(path, s.cfg.recoveryPath); found {
		path = rest
	}
	return strings.Trim(path, "/")
}

func (s *recovery) list(w http.ResponseWriter, r *http.Request) {
	limit, err := recoveryLimitOf(r)
	if err != nil {
		answerError(w, http.StatusBadRequest, "limit", err.Error())
		return
	}
	items := []wire.RecoveryItem{} // never null: the server's rescuer would crash
	if s.cfg.outbox != nil {
		until := time.Now().Add(recoveryLease)
		records, err := s.cfg.outbox.Claim(r.Context(), outbox.ClaimOptions{
			Limit: limit, MaxBytes: recoveryBytes, Lease: recoveryLease, SkipScheduled: true,
		})
		if err != nil {
			s.failed(w, err)
			return
		}
		var early []outbox.Change
		var offered []outbox.Record
		for _, record := range records {
			if record.DeliverAt.After(time.Now()) {
				// The store's clock is ahead of the local one. The server would
				// deliver the message at once.
				early = append(early, outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, Untried: true, After: deliver.Backoff(1)})
				continue
			}
			offered = append(offered, record)
			items = append(items, wire.RecoveryItem{
				ID: record.ID, Topic: record.Topic, Payload: record.Payload, Attributes: record.Attributes,
			})
		}
		s.listed.add(offered, until)
		if len(early) > 0 {
			// If this fails, the relay gets the messages when their lease ends.
			_, _ = s.cfg.outbox.Reschedule(r.Context(), early...)
		}
	}
	if len(items) > 0 {
		s.events.log.Always(slog.LevelInfo, "messages listed for recovery", "messages", len(items))
	}
	emit(s.events.observer.Listed, Event{Messages: len(items), FromOutbox: true})
	answerJSON(w, http.StatusOK, items)
}

// head responds like list, without a body.
func (s *recovery) head(w http.ResponseWriter, r *http.Request) {
	if _, err := recoveryLimitOf(r); err != nil {
		answerError(w, http.StatusBadRequest, "limit", err.Error())
		return
	}
	if s.cfg.outbox != nil {
		if err := probeOf(s.cfg.outbox)(r.Context()); err != nil {
			s.failed(w, err)
			return
		}
	}
	jsonHeader(w)
	w.WriteHeader(http.StatusOK)
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

func (s *recovery) remove(w http.ResponseWriter, r *http.Request, id string) {
	deleted := 0
	if s.cfg.outbox != nil && uuid.Validate(id) == nil {
		// The server has the message. If a disconnect left it in the outbox, it
		// would be delivered twice.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), relay.StoreTimeout)
		defer cancel()
		var err error
		if deleted, err = s.cfg.outbox.Delete(ctx, id); err != nil {
			s.failed(w, err)
			return
		}
		s.listed.taken(id, func(changes ...outbox.Change) error {
			_, err := s.cfg.outbox.Reschedule(ctx, changes...)
			return err
		})
	}
	if deleted == 0 {
		answerError(w, http.StatusNotFound, wire.DetailKey, "no such message")
		return
	}
	s.events.throughput.add(deleted, 0, 0)
	emit(s.events.observer.Recovered, Event{Messages: deleted, FromOutbox: true})
	w.WriteHeader(http.StatusNoContent)
}

func (s *recovery) failed(w http.ResponseWriter, err error) {
	s.events.log.Error("recovery", "", "the outbox cannot be used for recovery", "error", err)
	answerError(w, http.StatusServiceUnavailable, wire.DetailKey, "the outbox is not available")
}

// answerError responds in the server's own error format.
func answerError(w http.ResponseWriter, status int, field, reason string) {
	answerJSON(w, status, map[string]any{"errors": map[string][]string{field: {reason}}})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		// The payload is not JSON, so it was not stored by this client.
		http.Error(w, "cannot encode the response", http.StatusInternalServerError)
		return
	}
	jsonHeader(w).Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller has disconnected
}

// jsonHeader sets the headers of a response, except for its length.
func jsonHeader(w http.ResponseWriter) http.Header {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store, no-transform")
	return header
}
