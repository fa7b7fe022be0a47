// Package exchange has the response writer that the adapters for Echo v4 and v5
// share.
package exchange

import (
	"net/http"

	"github.com/postoffice-go/postoffice/nethttp"
)

// Exchange is the writer for core.Client.Serve. It writes the response of
// Options.NotAccepted.
type Exchange struct {
	http.ResponseWriter
	context  Context
	start    func(status int) bool // nil without FlushOn
	response Response
	begun    bool // a handler has started the response
	late     bool // the response starts without the writer of Wrap
	replaced bool
	size     int64
}

// Context is the context of a request in Echo.
type Context interface {
	// Request returns the request, which handlers may replace.
	Request() *http.Request
}

// Response is a response of Echo.
type Response struct {
	Hooks
	// Writer is the writer of the response.
	Writer *http.ResponseWriter
	// Status, Size and Committed point to the fields that record the sent response.
	Status    *int
	Size      *int64
	Committed *bool
	// Direct means that the exchange writes to Writer instead of the response.
	Direct bool
}

// Hooks are the hooks of Echo's response: before it starts, and after each part
// of its body.
type Hooks interface {
	Before(func())
	After(func())
}

// New returns the exchange of a request, which writes to w.
func New(w http.ResponseWriter, c Context) *Exchange {
	return &Exchange{ResponseWriter: w, context: c}
}

// Request returns the request of the context.
func (e *Exchange) Request() *http.Request { return e.context.Request() }

// Wrap returns a writer for handlers that calls start before the first byte,
// as [nethttp.Writer] does.
func (e *Exchange) Wrap(start func(status int) bool, response Response) http.ResponseWriter {
	e.start, e.response = start, response
	w := nethttp.Writer(e.ResponseWriter, func(status int) bool {
		if !e.response.Direct && *e.response.Committed {
			status = http.StatusOK // after an informational status, Echo sends no further status
		}
		e.begun = true
		return e.late || start(status)
	})
	if !response.Direct {
		response.Before(e.bypassed)
	}
	return w
}

// Returned prepares for a response that starts after the handler has returned,
// such as the response to an error. By then, middlewares such as the one for
// gzip have removed their own writer, and with it the writer of Wrap.
func (e *Exchange) Returned() {
	if e.start != nil && !e.begun && e.response.Direct {
		e.response.Before(e.bypassed)
	}
}

// bypassed wraps the writer of Echo's response when the response starts without
// the writer of Wrap.
func (e *Exchange) bypassed() {
	if e.begun || e.replaced {
		return
	}
	e.late, e.response.Direct = true, true
	e.ResponseWriter = *e.response.Writer
	*e.response.Writer = nethttp.Writer(e.ResponseWriter, e.start)
}

// WriteHeader sends the status that replaces the handler's.
func (e *Exchange) WriteHeader(status int) {
	e.replaced = true
	e.ResponseWriter.WriteHeader(status)
	if e.response.Direct {
		*e.response.Status, *e.response.Committed = status, true
		e.response.After(e.correct)
	}
}

// Write sends a body that replaces the handler's.
func (e *Exchange) Write(b []byte) (int, error) {
	if !e.replaced {
		e.WriteHeader(http.StatusOK)
	}
	n, err := e.ResponseWriter.Write(b)
	e.size += int64(n)
	e.correct()
	return n, err
}

// correct removes discarded bytes from the size that Echo counts.
func (e *Exchange) correct() {
	if e.response.Direct {
		*e.response.Size = e.size
	}
}
