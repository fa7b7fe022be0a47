package echopo

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/echopo/internal/exchange"
)

// wrap replaces the writer of the handlers if FlushOn is set. The writer wraps
// the writers of outer middlewares, some of which delay the status.
func wrap(c *echo.Context, e *exchange.Exchange, w http.ResponseWriter) {
	response, ok := w.(*core.Response)
	if !ok {
		return
	}
	r, err := echo.UnwrapResponse(c.Response())
	if err != nil {
		r = &echo.Response{} // a middleware has replaced the response
	}
	c.SetResponse(e.Wrap(response.Start, exchange.Response{
		Hooks: r, Writer: &r.ResponseWriter, Status: &r.Status, Size: &r.Size, Committed: &r.Committed,
	}))
}
