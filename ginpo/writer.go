package ginpo

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// errReplaced is the error of Hijack after the response of Options.NotAccepted
// was sent.
var errReplaced = errors.New("postoffice: cannot hijack: the messages of the request were not accepted, and the response was sent")

// exchange is the writer for core.Client.Serve: the writer of the gin.Context
// at the call of the middleware.
type exchange struct {
	gin.ResponseWriter
	c *gin.Context
	// begun means that WriteHeader has sent a status. late means that another
	// response was sent before, as after gin.Engine.HandleContext.
	begun, late bool
}

// Request returns the request of the context, which handlers may replace.
func (e *exchange) Request() *http.Request { return e.c.Request }

// WriteHeader sends a status that replaces the handler's. It also calls
// WriteHeaderNow, because Gin's WriteHeader only stores the status and handlers
// could still change it.
func (e *exchange) WriteHeader(status int) {
	if status < http.StatusOK {
		return // Gin cannot send an informational status
	}
	if !e.begun {
		e.begun, e.late = true, e.Written()
	}
	if !e.late {
		e.ResponseWriter.WriteHeader(status)
		e.WriteHeaderNow()
	}
}

// Write sends a body that replaces the handler's.
func (e *exchange) Write(b []byte) (int, error) {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	if e.late {
		return len(b), nil
	}
	return e.ResponseWriter.Write(b)
}

// hand passes the request to the handlers. If FlushOn is set, it also replaces
// their writer.
func (e *exchange) hand(w http.ResponseWriter, r *http.Request) {
	e.c.Request = r
	if response, ok := w.(*core.Response); ok {
		e.c.Writer = &writer{ResponseWriter: e.ResponseWriter, start: response.Start}
	}
}

// writer calls start before it sends the first byte of a response. If start
// returns false, it sends nothing.
type writer struct {
	gin.ResponseWriter
	start func(status int) bool
}

// Unwrap returns the original writer, for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begins reports whether the response may be sent. With the first byte, Gin
// sends the status that was set last; net/http sends 200 after an informational
// status.
func (w *writer) begins() bool {
	status := w.Status()
	if status != http.StatusSwitchingProtocols {
		status = max(status, http.StatusOK)
	}
	return w.start(status)
}

// WriteHeaderNow sends the status, unless the response is discarded.
func (w *writer) WriteHeaderNow() {
	if w.begins() {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Write sends a part of the body, unless the response is discarded.
func (w *writer) Write(b []byte) (int, error) {
	if !w.begins() {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// WriteString sends a part of the body, unless the response is discarded.
func (w *writer) WriteString(s string) (int, error) {
	if !w.begins() {
		return len(s), nil
	}
	return w.ResponseWriter.WriteString(s)
}

// Flush sends buffered data, unless the response is discarded.
func (w *writer) Flush() {
	if w.begins() {
		w.ResponseWriter.Flush()
	}
}

// Hijack takes over the connection, which counts as status 101.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.start(http.StatusSwitchingProtocols) {
		return nil, nil, errReplaced
	}
	return w.ResponseWriter.Hijack()
}
