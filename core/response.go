package core

import (
	"maps"
	"net/http"
	"sync"
)

// retryAfter is the Retry-After header, in seconds, of the response to a
// request whose messages were not accepted.
const retryAfter = "1"

// Response is the response to a request with Options.FlushOn. [Client.Serve]
// passes it to next instead of the writer w. It is for authors of adapters,
// whose own writers wrap it and call Start before they send anything:
//
//	func (w *writer) Write(b []byte) (int, error) {
//		if !w.response.Start(w.status) {
//			return len(b), nil // discarded
//		}
//		return w.ResponseWriter.Write(b)
//	}
//
// The methods of Response itself write to w without asking FlushOn.
type Response struct {
	http.ResponseWriter
	unit    *unit
	request *http.Request

	refusing sync.Mutex  // held while Options.NotAccepted writes
	header   http.Header // the header at Serve; after refuse, of the response that was sent

	mu       sync.Mutex
	decided  bool
	replaced bool
}

// Start settles the messages of the request before the response starts with a
// status. The first call asks Options.FlushOn, and waits until the messages are
// accepted or dropped. If FlushOn accepts them but the client cannot, Start
// writes the response of Options.NotAccepted and returns false: the writer must
// discard the rest of the handler's response. Later calls return the same
// value, also when Options.NotAccepted makes them.
//
// An informational status, below 200 other than 101, and an invalid status do
// not settle the messages: the next status does.
func (r *Response) Start(status int) bool {
	accepted, err := r.decide(status)
	if err != nil {
		r.refuse(err) // unlocked, because NotAccepted may write to the handler's writer
	}
	return accepted
}

// decide reports whether the handler's response may be sent. It returns the
// error of the messages once.
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

// isFinal reports whether a status ends the response: it is valid and not
// informational.
func isFinal(status int) bool {
	return status == http.StatusSwitchingProtocols || status >= http.StatusOK && status <= 999
}

// refuse writes the response of Options.NotAccepted. If NotAccepted is nil, or
// panics or returns without writing anything, it writes 503 with Retry-After.
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

// restore undoes the handler's changes to the header after its response was
// replaced, because trailers and buffering writers still read the header.
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

// refusal records whether Options.NotAccepted has written a response.
type refusal struct {
	http.ResponseWriter
	written bool
}

// WriteHeader records a final status.
func (w *refusal) WriteHeader(status int) {
	w.written = w.written || isFinal(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write records the implicit status 200, if no status was written before.
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

// returned settles the messages when the handler has returned. If the handler
// returned an error and sent nothing, it leaves the decision to the framework's
// response to the error, or to the end of the request.
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
