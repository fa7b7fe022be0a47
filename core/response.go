package core

import (
	"maps"
	"net/http"
	"sync"
)

// retryAfter is the Retry-After of the response to a request whose messages were
// not accepted, in seconds.
const retryAfter = "1"

// Response is the response to a request with Options.FlushOn. [Client.Serve]
// passes it to next instead of the writer w. It is for authors of adapters,
// whose own writers wrap w and call Start before they send anything to it:
//
//	func (w *writer) Write(b []byte) (int, error) {
//		if !w.response.Start(w.status) {
//			return len(b), nil // discarded
//		}
//		return w.ResponseWriter.Write(b)
//	}
//
// Its own methods write to w without a decision.
type Response struct {
	http.ResponseWriter
	unit    *unit
	request *http.Request

	refusing sync.Mutex  // held while Options.NotAccepted writes
	header   http.Header // as it was at Serve; after refuse, that of the response sent

	mu       sync.Mutex
	decided  bool
	replaced bool
}

// Start decides about the messages of the request before the response starts
// with a status. The first call asks Options.FlushOn, and waits until the
// messages are accepted or dropped. If they should be accepted and cannot be,
// it writes the response of Options.NotAccepted and returns false: the rest of
// the handler's response is discarded. Every later call returns the same, also
// one by Options.NotAccepted.
//
// A status below 200 other than 101 is informational: another one follows, and
// Start does not decide yet. A status that cannot be sent decides nothing,
// either.
func (r *Response) Start(status int) bool {
	accepted, err := r.decide(status)
	if err != nil {
		r.refuse(err) // unlocked, because NotAccepted may write to the handler's writer
	}
	return accepted
}

// decide returns whether the handler's response goes on. The error is that of
// the messages, returned once.
func (r *Response) decide(status int) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.decided || !isFinal(status) {
		return !r.replaced, nil
	}
	r.decided = true // also if FlushOn panics
	_, err := r.unit.end(r.request.Context(), Outcome{Status: status})
	r.replaced = err != nil
	return !r.replaced, err
}

// isFinal reports whether a status is that of a response.
func isFinal(status int) bool {
	return status == http.StatusSwitchingProtocols || status >= http.StatusOK && status <= 999
}

// refuse writes the response of Options.NotAccepted. Without one, or if it
// writes nothing or panics first, the response is 503 with Retry-After.
func (r *Response) refuse(err error) {
	if r.ResponseWriter == nil {
		return
	}
	r.refusing.Lock()
	defer r.refusing.Unlock()
	header := r.Header()
	clear(header)
	maps.Copy(header, r.header)
	w := &refusal{ResponseWriter: r.ResponseWriter}
	defer func() {
		if !w.written {
			header.Set("Retry-After", retryAfter)
			http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		}
		r.header = header.Clone()
	}()
	if write := r.unit.options.NotAccepted; write != nil {
		write(w, r.request, err)
	}
}

// restore undoes what the handler has done to the header since another response
// has replaced its own: trailers and writers that buffer still read the header.
func (r *Response) restore() {
	r.mu.Lock()
	replaced := r.replaced
	r.mu.Unlock()
	if replaced && r.ResponseWriter != nil {
		r.refusing.Lock()
		defer r.refusing.Unlock()
		header := r.Header()
		clear(header)
		maps.Copy(header, r.header.Clone())
	}
}

// refusal notes whether Options.NotAccepted has written a response.
type refusal struct {
	http.ResponseWriter
	written bool
}

// WriteHeader notes a final status.
func (w *refusal) WriteHeader(status int) {
	w.written = w.written || isFinal(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write notes that the status is 200, if there is none.
func (w *refusal) Write(b []byte) (int, error) {
	w.written = true
	return w.ResponseWriter.Write(b)
}

// panicked drops the messages after a panic of the handler.
func (r *Response) panicked() {
	r.mu.Lock()
	r.decided = true
	r.mu.Unlock()
	r.unit.discard(nil)
}

// returned decides when the handler has returned. If it has returned an error
// and sent nothing, the framework's response to the error decides, or the end
// of the request.
func (r *Response) returned(w http.ResponseWriter, err error) {
	if err == nil {
		r.Start(statusOf(w))
		return
	}
	r.unit.leaveOpen()
}

// statusOf returns the status of a response that has not begun.
func statusOf(w http.ResponseWriter) int {
	if framework, ok := w.(interface{ Status() int }); ok {
		if status := framework.Status(); isFinal(status) {
			return status
		}
	}
	return http.StatusOK
}
