package postofficetest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// rescuerTimeout bounds each of the rescuer's requests.
	rescuerTimeout = 5 * time.Second
	// rescuerStarts is how often a run is started in one tick: once, and again after
	// it was aborted.
	rescuerStarts = 4
)

// RescuerRun is a run of the rescuer in one tick for one origin host.
type RescuerRun struct {
	// OriginHost is the host as registered, without userinfo.
	OriginHost string
	// At is the beginning of the run, by the server's clock.
	At time.Time
	// Starts is how often the list was fetched: once, or up to 4 times if an item or
	// the list itself aborted the run.
	Starts int
	// Aborted reports whether the last start was aborted, too.
	Aborted bool
	// Listed, Published and Skipped are totals of all starts: the items that were
	// offered, the messages that were published (a bulk item has several), and the
	// items that were left because of an unknown topic.
	Listed, Published, Skipped int
	// Deletes are the items that were deleted at the origin host, or should have
	// been.
	Deletes []RescuerDelete
	// Errors say what went wrong, without payloads.
	Errors []string
}

// RescuerDelete is one DELETE of the rescuer.
type RescuerDelete struct {
	// ID is the item's id as text.
	ID string
	// Status is the status of the answer; zero if there was none.
	Status int
}

// RunRescuer runs the rescuer at once for each distinct origin host of the topics
// with recovery enabled, one after another, and returns the runs. Deliveries happen
// afterwards by themselves. Runs may overlap if several goroutines call it. The end
// of the context stops it; the errors say so.
func (s *Server) RunRescuer(ctx context.Context) []RescuerRun {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	s.mu.Lock()
	distinct := make(map[string]bool)
	for _, topic := range s.topics {
		if topic.RecoveryEnabled {
			distinct[topic.OriginHost] = true
		}
	}
	now := s.clock()
	s.mu.Unlock()
	var runs []RescuerRun
	for _, host := range slices.Sorted(maps.Keys(distinct)) {
		run := &RescuerRun{OriginHost: withoutUserinfo(host), At: now}
		for run.Starts < rescuerStarts {
			run.Starts++
			err := s.rescue(ctx, host, run)
			run.Aborted = err != nil
			if err == nil {
				break
			}
			run.Errors = append(run.Errors, err.Error())
			if ctx.Err() != nil {
				break
			}
		}
		s.mu.Lock()
		s.rescuerRuns = remember(s.rescuerRuns, run, s.settings.history)
		s.notify()
		s.mu.Unlock()
		runs = append(runs, run.clone())
	}
	return runs
}

// rescue fetches the list of a host once and processes it. An error is an exception
// of the real server, after which the run is started again.
func (s *Server) rescue(ctx context.Context, host string, run *RescuerRun) error {
	to, err := parseAddress(host)
	if errors.Is(err, errNoHost) {
		return err
	}
	if err != nil {
		run.fail("GET: %v", err)
		return nil
	}
	status, body, err := s.send(ctx, http.MethodGet, to, http.Header{}, nil, s.wallClock(rescuerTimeout))
	switch {
	case err != nil && isTLS(err):
		return fmt.Errorf("GET: %w", err)
	case err != nil:
		run.fail("GET: %v", err)
		return nil
	case status/100 != 2:
		run.fail("GET: status %d", status)
		return nil
	case !validJSON(body):
		return errors.New("GET: body is not JSON")
	}
	list := json.RawMessage(body[skip(body, 0):])
	if kindOf(list) == '{' && len(fieldsOf(list)) == 0 {
		return nil
	}
	if kindOf(list) != '[' {
		return errors.New("GET: body is not a list")
	}
	items := itemsOf(list)
	run.Listed += len(items)
	for i, item := range items {
		if err := s.rescueItem(ctx, host, item, run); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

// isTLS reports whether a request failed in the TLS handshake. Unlike other network
// errors, this aborts the run of the real server.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &verification) ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// rescueItem publishes one item and deletes it at the origin host.
func (s *Server) rescueItem(ctx context.Context, host string, item json.RawMessage, run *RescuerRun) error {
	if kindOf(item) != '{' {
		return raised("is not an object")
	}
	message := fieldsOf(item)
	bulk, found := message["bulk"]
	delete(message, "bulk")
	id, hasID := message["id"]
	switch {
	case found && string(bulk) == "true" && hasID:
		complete, err := s.rescueBulk(message["payload"], run)
		if err != nil || !complete {
			return err
		}
	case !found || string(bulk) == "false":
		delete(message, "id")
		switch _, err := s.receive(message, Rescued); {
		case errors.Is(err, errUnknownTopic):
			run.Skipped++
			run.fail("topic is unknown")
			return nil
		case err != nil:
			return err
		}
		run.Published++
	default:
		return raised("bulk is neither true, with an id, nor false")
	}
	text, ok := idText(id)
	if !ok {
		return raised("id cannot be converted to text")
	}
	s.rescueDelete(ctx, host, text, run)
	return nil
}

// rescueBulk publishes the messages of a bulk item. It returns false if one of them
// has an unknown topic: the others are published nevertheless.
func (s *Server) rescueBulk(payload json.RawMessage, run *RescuerRun) (complete bool, err error) {
	switch {
	case kindOf(payload) == '{' && len(fieldsOf(payload)) == 0:
		return true, nil
	case kindOf(payload) != '[':
		return false, raised("payload is not a list")
	}
	complete = true
	for _, message := range itemsOf(payload) {
		if kindOf(message) != '{' {
			return false, raised("payload contains something other than messages")
		}
		switch _, err := s.receive(fieldsOf(message), Rescued); {
		case errors.Is(err, errUnknownTopic):
			complete = false
		case err != nil:
			return false, err
		default:
			run.Published++
		}
	}
	if !complete {
		run.Skipped++
		run.fail("topic in bulk is unknown")
	}
	return complete, nil
}

// rescueDelete deletes an item at its origin host. No error stops the run.
func (s *Server) rescueDelete(ctx context.Context, host, id string, run *RescuerRun) {
	made := RescuerDelete{ID: id}
	to, err := parseAddress(host + id + "/")
	if err == nil {
		made.Status, _, err = s.send(ctx, http.MethodDelete, to, http.Header{}, nil, s.wallClock(rescuerTimeout))
	}
	if err != nil {
		made.Status = 0
		run.fail("DELETE: %v", err)
	}
	run.Deletes = append(run.Deletes, made)
}

// maxID is the maximum length of an id that is a list.
const maxID = 8 << 10

// idText converts an item's id to text like the real server: it treats a list as a
// list of characters. It returns false for an object.
func idText(id json.RawMessage) (string, bool) {
	if kindOf(id) == '[' && len(id) > maxID {
		return "", false
	}
	switch kindOf(id) {
	case 0, 'n':
		return "", true
	case '"':
		return stringOf(id)
	case '{':
		return "", false
	case '[':
		var text strings.Builder
		for _, item := range itemsOf(id) {
			if part, ok := stringOf(item); ok {
				text.WriteString(part)
				continue
			}
			if code, err := strconv.Atoi(string(item)); err == nil && code >= 0 && utf8.ValidRune(rune(code)) {
				text.WriteRune(rune(code))
				continue
			}
			part, ok := "", kindOf(item) == '['
			if ok {
				part, ok = idText(item)
			}
			if !ok {
				return "", false
			}
			text.WriteString(part)
		}
		return text.String(), true
	default:
		return string(id), true
	}
}

func (r *RescuerRun) fail(format string, args ...any) {
	r.Errors = append(r.Errors, fmt.Sprintf(format, args...))
}

func (r *RescuerRun) clone() RescuerRun {
	copied := *r
	copied.Deletes = slices.Clone(r.Deletes)
	copied.Errors = slices.Clone(r.Errors)
	return copied
}
