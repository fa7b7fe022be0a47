package devserver

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// app is the server with its pages.
type app struct {
	options Options
	guard   guard
	keeper  keeper

	ctx  context.Context //nolint:containedctx // ends the background work of the pages
	work sync.WaitGroup
	// starting is held while work is started, so that finish does not miss it.
	starting sync.Mutex

	once     sync.Once
	server   *postofficetest.Server
	operator *postofficetest.Operator
	pages    http.Handler
}

func newApp(ctx context.Context, o Options) *app {
	return &app{
		ctx: ctx, options: o, guard: newGuard(o),
		keeper: keeper{store: nowhere{}, logger: o.Logger},
	}
}

// front handles all requests to the server's address: it checks them with the guard and
// passes them to the pages or the API.
func (a *app) front(server *postofficetest.Server) http.Handler {
	a.once.Do(func() {
		a.server, a.operator = server, server.Operator()
		a.keeper.operator, a.keeper.journal = a.operator, a.operator.Journal()
		a.pages = a.newPages()
	})
	api := server.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refused := a.guard.check(r)
		switch {
		case refused != nil:
			a.refuse(w, r, refused)
		case ofPages(r):
			a.pages.ServeHTTP(w, r)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			api.ServeHTTP(w, r)
		default:
			api.ServeHTTP(&keptWriter{ResponseWriter: w, keeper: &a.keeper, ctx: a.ctx}, r)
		}
	})
}

// ofPages reports whether a request is for the pages. The API does not use these paths.
func ofPages(r *http.Request) bool {
	if r.URL.Path == "/" {
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return r.URL.Path == "/dev" || strings.HasPrefix(r.URL.Path, "/dev/")
}

// keptWriter delays a response of the API until the changes are in the store. If that
// fails, the response is status 500, and the app retries.
type keptWriter struct {
	http.ResponseWriter
	keeper *keeper
	ctx    context.Context //nolint:containedctx // of the program: a disconnected client must not cancel the write
	failed bool
}

// WriteHeader is part of http.ResponseWriter.
func (w *keptWriter) WriteHeader(status int) {
	if w.failed {
		return
	}
	if err := w.keeper.flush(context.WithoutCancel(w.ctx)); err != nil {
		w.failed = true
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.ResponseWriter.WriteHeader(http.StatusInternalServerError)
		_, _ = w.ResponseWriter.Write([]byte(`{"errors":{"detail":"Internal Server Error"}}`)) // the client may have disconnected
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is part of http.ResponseWriter. The API always writes the header first.
func (w *keptWriter) Write(body []byte) (int, error) {
	if w.failed {
		return len(body), nil
	}
	return w.ResponseWriter.Write(body)
}

// Hijack is part of http.Hijacker, which is used to reset connections.
func (w *keptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
