package postofficetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// faults are the faults that the server simulates.
type faults struct {
	mu    sync.Mutex
	queue []failure
	when  func(*http.Request, []byte) (int, bool)
	delay time.Duration
	hang  *hang // the current hang, for which requests wait; nil for none
	drop  int
	reset int
	ko    bool
}

// hang is a period in which requests are not processed, identified by its address.
type hang struct{ _ byte }

// failure is an answer to a number of requests instead of the server's.
type failure struct {
	times       int
	status      int
	retryAfter  string
	contentType string
	body        []byte
}

// Answer is an answer that the server gives instead of processing a request.
type Answer struct {
	// Status is the status of the answer. An invalid status becomes 500.
	Status int
	// RetryAfter is sent as a header in whole seconds, rounded up. Zero or less
	// sends none.
	RetryAfter time.Duration
	// Body replaces the server's usual body for the status, like a proxy's page, and
	// has this ContentType. Empty means the usual body.
	Body, ContentType string
}

// newFailure returns a failure for a number of requests.
func newFailure(times int, answer Answer) failure {
	f := failure{times: times, status: answer.Status}
	if f.status < 200 || f.status > 999 {
		f.status = http.StatusInternalServerError
	}
	if answer.RetryAfter > 0 {
		f.retryAfter = strconv.Itoa(int(math.Ceil(answer.RetryAfter.Seconds())))
	}
	if answer.Body != "" {
		f.contentType, f.body = answer.ContentType, []byte(answer.Body)
	}
	return f
}

func (f failure) write(w http.ResponseWriter) {
	if f.retryAfter != "" {
		w.Header().Set("Retry-After", f.retryAfter)
	}
	if f.body == nil {
		write(w, plainError(f.status))
		return
	}
	writeBody(w, f.status, f.contentType, f.body)
}

// FailNext answers the next n requests with the status, without processing them. A
// second call queues behind the first. An invalid status becomes 500.
func (s *Server) FailNext(n, status int) { s.AnswerNext(n, Answer{Status: status}) }

// AnswerNext is [Server.FailNext] for a complete answer.
func (s *Server) AnswerNext(n int, answer Answer) {
	if n < 1 {
		return
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.queue = append(s.faults.queue, newFailure(n, answer))
}

// FailWhen answers each request for which the function returns true with its status,
// without processing it: for example a poison message, or one path that fails. Nil
// ends it; a second call replaces the first. The function may be called
// concurrently. It must not call Stop or Close, which wait for it.
func (s *Server) FailWhen(when func(r *http.Request, body []byte) (status int, ok bool)) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.when = when
}

// Delay delays each request before it is processed, by the wall clock or the time of
// a bubble of testing/synctest. Zero ends it.
func (s *Server) Delay(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.delay = d
}

// Hang makes requests wait, unprocessed, until Resume; then they continue. A request
// whose client gives up is never processed.
func (s *Server) Hang() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.hang == nil {
		s.faults.hang = new(hang)
	}
}

// DropNext processes the next n requests and cuts the connection instead of
// answering: the messages are accepted, but the client does not know.
func (s *Server) DropNext(n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.drop = max(n, 0)
}

// ResetNext resets the connection of the next n requests without processing
// them.
func (s *Server) ResetNext(n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.reset = max(n, 0)
}

// SetUnwell makes the health check answer "ko", or "ok" again; the status of the
// answer is 200 in both cases. Nothing else changes.
func (s *Server) SetUnwell(unwell bool) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.ko = unwell
}

// Resume ends all faults, including SetUnwell, and lets waiting requests continue.
// It does not undo Stop: see Restart.
func (s *Server) Resume() {
	f := &s.faults
	f.mu.Lock()
	f.queue, f.when, f.delay, f.hang, f.drop, f.reset, f.ko = nil, nil, 0, nil, 0, 0, false
	f.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify()
}

func (f *faults) unwell() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ko
}

// verdict is what a fault has done to a request, or has yet to do.
type verdict struct {
	answered bool // with the failure
	failure  failure
	drop     bool
}

// meet applies the faults: delay, hang, reset, fail, in this order. It does not
// return for a request that gets no answer.
func (s *Server) meet(w http.ResponseWriter, r *http.Request, body []byte) verdict {
	f := &s.faults
	f.mu.Lock()
	delay, hang := f.delay, f.hang
	f.mu.Unlock()
	if delay > 0 {
		s.hold(r, delay)
	}
	if hang != nil && s.follow(r.Context(), func() bool { return !f.hangs(hang) }) != nil {
		panic(http.ErrAbortHandler)
	}
	reset, planned, when := f.next()
	if reset {
		cut(w)
	}
	if planned.times > 0 {
		return verdict{answered: true, failure: planned}
	}
	if when != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		if status, ok := when(r, body); ok {
			return verdict{answered: true, failure: newFailure(1, Answer{Status: status})}
		}
	}
	return verdict{drop: f.dropped()}
}

// hold waits, and ends the request if its client or the server goes first.
func (s *Server) hold(r *http.Request, d time.Duration) {
	ctx, cancel := context.WithTimeout(r.Context(), d)
	defer cancel()
	err := s.follow(ctx, func() bool { return false })
	if r.Context().Err() != nil || errors.Is(err, ErrClosed) {
		panic(http.ErrAbortHandler)
	}
}

// hangs reports whether a hang has not ended.
func (f *faults) hangs(period *hang) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hang == period
}

// next returns the fault of the next request: a reset, a planned failure, or the
// function that decides.
func (f *faults) next() (reset bool, planned failure, when func(*http.Request, []byte) (int, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.reset > 0:
		f.reset--
		return true, failure{}, nil
	case len(f.queue) > 0:
		planned = f.queue[0]
		if f.queue[0].times--; f.queue[0].times == 0 {
			f.queue = f.queue[1:]
		}
		return false, planned, nil
	}
	return false, failure{}, f.when
}

// dropped takes one of the answers to drop, and reports whether there was one.
func (f *faults) dropped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drop == 0 {
		return false
	}
	f.drop--
	return true
}

// cut resets the connection if possible (not over HTTP/2), and ends the request.
func cut(w http.ResponseWriter) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if conn, _, err := hijacker.Hijack(); err == nil {
			if followed, ok := conn.(*expectConn); ok {
				conn = followed.Conn
			}
			if socket, ok := conn.(*net.TCPConn); ok {
				_ = socket.SetLinger(0) // a reset instead of a graceful close
			}
			_ = conn.Close()
		}
	}
	panic(http.ErrAbortHandler)
}
