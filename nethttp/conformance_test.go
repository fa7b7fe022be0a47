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
		Mount: func(prefix string, client *core.Client) http.Handler {
			mux := http.NewServeMux()
			if prefix == "" {
				nethttp.Mount(mux, client)
				return mux
			}
			below := http.NewServeMux()
			nethttp.Mount(below, client)
			mux.Handle(prefix+"/", http.StripPrefix(prefix, below))
			return mux
		},
		Register: func(client *core.Client, options core.Options, handler adaptertest.Handler) (http.Handler, error) {
			mux := http.NewServeMux()
			mux.Handle(adaptertest.Path, handle(handler))
			server := &http.Server{Handler: mux}
			err := nethttp.Register(server, client, options)
			return server.Handler, err
		},
	})
}
