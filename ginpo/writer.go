package ginpo

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// exchange is the writer that core.Client.Serve gets. It asks the gin.Context,
// whose writer and request handlers may replace.
type exchange struct{ c *gin.Context }

// Header is that of the writer.
func (e exchange) Header() http.Header { return e.c.Writer.Header() }

// Write writes to the writer.
func (e exchange) Write(b []byte) (int, error) { return e.c.Writer.Write(b) }

// WriteHeader sets the status of the writer.
func (e exchange) WriteHeader(status int) { e.c.Writer.WriteHeader(status) }

// Status returns the status of the writer.
func (e exchange) Status() int { return e.c.Writer.Status() }

// Request returns the request of the context.
func (e exchange) Request() *http.Request { return e.c.Request }
