package postofficetest

import (
	"net/http"
	"sync/atomic"
)

// connection is the state of a connection; nil for a request without a connection,
// through [Server.Handler].
type connection struct {
	requests atomic.Int32
	listener *listener
}

// connectionKey is the context key of a connection.
type connectionKey struct{}

func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

// cut reports whether the server has cut the connection.
func (c *connection) cut() bool { return c != nil && c.listener.closing.Load() }
