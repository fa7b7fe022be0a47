package ginpo

import (
	"bufio"
	"errors"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
)

// errReplaced is the error of hijacking a connection on which the response of
// Options.NotAccepted was sent.
var errReplaced = errors.New("postoffice: the messages of the request were not accepted, and the client has the response that says so")

// exchange is the writer that core.Client.Serve gets: that of the gin.Context
// when the middleware was called.
type exchange struct {
	gin.ResponseWriter
	c *gin.Context
	// begun means that WriteHeader has sent a status, and late that others have
	// sent one before, as after gin.Engine.HandleContext.
	begun, late bool
}

// Request returns the request of the context, which handlers may replace.
func (e *exchange) Request() *http.Request { return e.c.Request }

// WriteHeader sends a status that replaces the handler's. Gin alone would only
// note it, and handlers could still set another one.
func (e *exchange) WriteHeader(status int) {
	if status < http.StatusOK {
		return // gin cannot send an informational one
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

// hand gives handlers the request, and a writer that decides before the first
// byte if FlushOn is set.
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

// begins reports whether the response goes on. gin sends the status that was
// set last with the first byte; net/http sends 200 after an informational one.
func (w *writer) begins() bool {
	status := w.Status()
	if status != http.StatusSwitchingProtocols {
		status = max(status, http.StatusOK)
	}
	return w.start(status)
}

// WriteHeaderNow sends the status.
func (w *writer) WriteHeaderNow() {
	if w.begins() {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Write sends a part of the body.
func (w *writer) Write(b []byte) (int, error) {
	if !w.begins() {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// WriteString sends a part of the body.
func (w *writer) WriteString(s string) (int, error) {
	if !w.begins() {
		return len(s), nil
	}
	return w.ResponseWriter.WriteString(s)
}

// Flush sends what is buffered.
func (w *writer) Flush() {
	if w.begins() {
		w.ResponseWriter.Flush()
	}
}

// Hijack hands the connection over, which counts as status 101.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.start(http.StatusSwitchingProtocols) {
		return nil, nil, errReplaced
	}
	return w.ResponseWriter.Hijack()
}
