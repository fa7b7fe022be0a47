//go:build unix

package faults

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// The points at which an app under test can kill itself.
const (
	// beforeCommit: a record is inserted, and not committed.
	beforeCommit = "after insert, before commit"
	// afterCommit: it is committed, and the client does not know.
	afterCommit = "after commit"
	// afterClaim: the relay has claimed records, and posted none of them.
	afterClaim = "after claim"
	// afterPost: a request was written, and its answer not read.
	afterPost = "after POST sent"
	// afterAnswer: the 201 was read, and the records not deleted.
	afterAnswer = "after 201 read"
	// afterDelete: they are deleted, and the client does not know.
	afterDelete = "after delete"
)

// crashPoints are the points in the order in which a message passes them.
var crashPoints = []string{beforeCommit, afterCommit, afterClaim, afterPost, afterAnswer, afterDelete}

// watch stands between a client and its outbox, and between a client and its
// server. It tells the test what is posted and deleted, and kills the
// process when a point is reached. A nil watch does nothing.
type watch struct {
	point   string
	at      int32
	reached atomic.Int32

	transport *http.Transport
	db        *sql.DB // nil for the embedded store
	// duringInsert is set where an insert commits by itself, in a database
	// server: the process dies while the statement runs.
	duringInsert bool

	mu   sync.Mutex
	ids  map[string]string // of messages, by the ids of their records
	rows map[string]bool   // the messages that have, or had, a record
}

// newWatch makes the watch of an app, nil if it needs none.
func newWatch(a app) *watch {
	if !a.Watched && a.Crash == "" {
		return nil
	}
	return &watch{
		point: a.Crash, at: int32(a.CrashAt), transport: http.DefaultTransport.(*http.Transport).Clone(),
		ids: map[string]string{}, rows: map[string]bool{},
	}
}

// uses tells the watch the database of the store.
func (w *watch) uses(db *sql.DB, dialect sqlstore.Dialect) {
	if w != nil {
		w.db, w.duringInsert = db, dialect != sqlstore.SQLite
	}
}

// reach kills the process when it has come to the point where it is to die.
func (w *watch) reach(point string) {
	if w == nil || point != w.point || w.reached.Add(1) != w.at {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal is delivered
}

// know remembers the messages of records.
func (w *watch) know(records []outbox.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, record := range records {
		id := idOf(record.Payload)
		w.ids[record.ID] = id
		w.rows[id] = true
	}
}

// messages returns the ids of the messages of records.
func (w *watch) messages(records []string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, len(records))
	for i, id := range records {
		ids[i] = w.ids[id]
	}
	return ids
}

// hasRow tells whether a message was stored.
func (w *watch) hasRow(message string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rows[message]
}

// store puts the watch in front of a store.
func (w *watch) store(store outbox.Store) outbox.Store {
	if w == nil {
		return store
	}
	return watchedStore{store, w}
}

type watchedStore struct {
	outbox.Store
	watch *watch
}

func (s watchedStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.watch.know(records)
	dies := s.watch.duringInsert && s.watch.point == beforeCommit
	var soon *time.Timer
	if dies {
		soon = time.AfterFunc(rand.N(time.Millisecond), func() { s.watch.reach(beforeCommit) })
	}
	err := s.Store.Insert(ctx, delay, records...)
	if dies && soon.Stop() { // the statement was faster
		s.watch.reach(beforeCommit)
	}
	if err == nil {
		s.watch.reach(afterCommit)
	}
	return err
}

func (s watchedStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	records, err := s.Store.Claim(ctx, options)
	if len(records) > 0 {
		s.watch.know(records)
		say(lineClaimed, strconv.Itoa(len(records)))
		s.watch.reach(afterClaim)
	}
	return records, err
}

func (s watchedStore) Delete(ctx context.Context, ids ...string) (int, error) {
	n, err := s.Store.Delete(ctx, ids...)
	if err == nil {
		s.watch.reach(afterDelete)
		say(lineDeleted, s.watch.messages(ids)...)
	}
	return n, err
}

// closeIdleConnections ends what connections are not in use, so that their
// goroutines are not counted.
func (w *watch) closeIdleConnections() {
	if w == nil {
		return
	}
	w.transport.CloseIdleConnections()
	if w.db != nil {
		w.db.SetMaxIdleConns(0)
		w.db.SetMaxIdleConns(connections)
	}
}

// roundTripper makes a transport that the watch looks at.
func (w *watch) roundTripper() http.RoundTripper {
	return watchedTransport{w.transport, w}
}

type watchedTransport struct {
	*http.Transport
	watch *watch
}

func (t watchedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ids := messagesIn(r)
	if len(ids) == 0 {
		return t.Transport.RoundTrip(r)
	}
	say(linePosted, ids...)
	stored := slices.ContainsFunc(ids, t.watch.hasRow)
	trace := &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err == nil && stored {
			t.watch.reach(afterPost)
		}
	}}
	response, err := t.Transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	switch {
	case err != nil:
		say(lineMissing, ids...)
	case response.StatusCode != http.StatusCreated:
		say(lineRejected, ids...)
	case stored:
		response.Body = &watchedBody{response.Body, t.watch}
	}
	return response, err
}

// watchedBody is the body of a 201 for stored messages.
type watchedBody struct {
	io.ReadCloser
	watch *watch
}

// Close is called when the answer was read.
func (b *watchedBody) Close() error {
	b.watch.reach(afterAnswer)
	return b.ReadCloser.Close()
}

// messagesIn returns the ids of the messages in a request; none if it does
// not carry any.
func messagesIn(r *http.Request) []string {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(body)
	if err != nil || body.Close() != nil {
		return nil
	}
	return messagesOf(text)
}

// messagesOf returns the ids of the messages in the body of a request.
func messagesOf(body []byte) []string {
	var request struct{ Payload json.RawMessage }
	if json.Unmarshal(body, &request) != nil || request.Payload == nil {
		return nil
	}
	payloads := []json.RawMessage{request.Payload}
	if request.Payload[0] == '[' && json.Unmarshal(request.Payload, &payloads) != nil {
		return nil
	}
	var ids []string
	for _, payload := range payloads {
		if id := idOf(payload); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}
