package echopo

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// exchange is the writer that core.Client.Serve gets. It asks the echo.Context,
// whose response and request handlers may replace.
type exchange struct {
	c   echo.Context
	err error // of the handler
}

// Header is that of the response.
func (e *exchange) Header() http.Header { return e.c.Response().Header() }

// Write writes to the response.
func (e *exchange) Write(b []byte) (int, error) { return e.c.Response().Write(b) }

// WriteHeader sends the status of the response.
func (e *exchange) WriteHeader(status int) { e.c.Response().WriteHeader(status) }

// Request returns the request of the context.
func (e *exchange) Request() *http.Request { return e.c.Request() }

// Status returns the status of the answer. Echo makes answers of errors only
// after the middlewares, so that of an error is the one which
// [echo.Echo.DefaultHTTPErrorHandler] gives: it looks neither into wrapped
// errors nor further than one level into internal ones.
func (e *exchange) Status() int {
	response := e.c.Response()
	if response.Committed || e.err == nil {
		return response.Status
	}
	answer, ok := e.err.(*echo.HTTPError) //nolint:errorlint // as echo does it
	if !ok {
		return http.StatusInternalServerError
	}
	if internal, ok := answer.Internal.(*echo.HTTPError); ok { //nolint:errorlint // as echo does it
		return internal.Code
	}
	return answer.Code
}
