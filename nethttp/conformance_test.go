package nethttp_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
	"github.com/postoffice-go/postoffice/nethttp"
)

// handle turns a handler of the suite into one of net/http.
func handle(handler adaptertest.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := handler(adaptertest.Call{
			Writer:    w,
			Request:   r,
			Publisher: func() *core.Publisher { return nethttp.FromRequest(r) },
		})
		if status, ok := errors.AsType[adaptertest.StatusError](err); ok {
			http.Error(w, status.Error(), int(status))
		}
	}
}

// mountApp makes an app of routes.
func mountApp(app adaptertest.MountApp) (http.Handler, error) {
	mux := http.NewServeMux()
	for _, path := range app.Own {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	}
	server := &http.Server{Handler: mux}
	if app.Prefix != "" {
		server.Handler = http.StripPrefix(app.Prefix, mux)
	}
	mount := func(client *core.Client) error { return nethttp.Mount(mux, client) }
	if app.ByRegister {
		mount = func(client *core.Client) error { return nethttp.Register(server, client, nethttp.Options{}) }
	}
	for _, client := range app.Clients {
		if err := mount(client); err != nil {
			return server.Handler, err
		}
	}
	return server.Handler, nil
}

func TestConformance(t *testing.T) {
	adaptertest.Run(t, adaptertest.Adapter{
		New: func(app adaptertest.App) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(adaptertest.Path, handle(app.Handler))
			var next http.Handler = mux
			if app.Client != nil {
				next = nethttp.Middleware(app.Client, app.Options)(next)
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if app.Before != nil {
					r = app.Before(r)
				}
				next.ServeHTTP(w, r)
			})
		},
		Mount: mountApp,
		Register: func(client *core.Client, options core.Options, handler adaptertest.Handler) (http.Handler, error) {
			mux := http.NewServeMux()
			mux.Handle(adaptertest.Path, handle(handler))
			server := &http.Server{Handler: mux}
			err := nethttp.Register(server, client, options)
			return server.Handler, err
		},
	})
}
