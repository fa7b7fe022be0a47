package echopo

import (
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/nethttp"
)

// exchange is the writer that core.Client.Serve gets: that of echo's response
// when the middleware was called. It writes the response of
// Options.NotAccepted, and keeps the fields of echo's response up to date.
type exchange struct {
	http.ResponseWriter
	c       echo.Context
	written bool
	size    int64
}

// Request returns the request of the context, which handlers may replace.
func (e *exchange) Request() *http.Request { return e.c.Request() }

// WriteHeader sends a status that replaces the handler's.
func (e *exchange) WriteHeader(status int) {
	e.ResponseWriter.WriteHeader(status)
	e.written = true
	e.c.Response().Status, e.c.Response().Committed = status, true
}

// Write sends a body that replaces the handler's.
func (e *exchange) Write(b []byte) (int, error) {
	if !e.written {
		e.WriteHeader(http.StatusOK)
	}
	n, err := e.ResponseWriter.Write(b)
	e.size += int64(n)
	return n, err
}

// wrap gives handlers a writer that decides before the first byte, if FlushOn
// is set.
func (e *exchange) wrap(w http.ResponseWriter) {
	response, ok := w.(*core.Response)
	if !ok {
		return
	}
	answer := e.c.Response()
	answer.Writer = nethttp.Writer(e.ResponseWriter, response.Start)
	answer.Before(func() { e.rewrap(answer, response.Start) })
}

// rewrap wraps the writer once more if a middleware in front has put back an
// earlier one, as echo's Gzip does before the response to an error.
func (e *exchange) rewrap(answer *echo.Response, start func(int) bool) {
	for w := e.ResponseWriter; w != nil; {
		if same(w, answer.Writer) {
			e.ResponseWriter = w
			answer.Writer = nethttp.Writer(w, start)
			return
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = wrapper.Unwrap()
	}
}

// same reports whether two writers are the same one.
func same(a, b http.ResponseWriter) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}

// returned corrects the size, to which echo has added what was discarded.
func (e *exchange) returned() {
	if e.written {
		e.c.Response().Size = e.size
	}
}
