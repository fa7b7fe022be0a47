package echopo

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/echopo/internal/exchange"
)

// wrap replaces the writer of the handlers if FlushOn is set.
func wrap(c echo.Context, e *exchange.Exchange, w http.ResponseWriter) {
	response, ok := w.(*core.Response)
	if !ok {
		return
	}
	r := c.Response()
	r.Writer = e.Wrap(response.Start, exchange.Response{
		Hooks: r, Writer: &r.Writer, Status: &r.Status, Size: &r.Size, Committed: &r.Committed, Direct: true,
	})
}
