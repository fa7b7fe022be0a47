package adaptertest_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/adaptertest"
)

// handle turns a handler of the suite into one of the framework.
func handle(handler adaptertest.Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := handler(adaptertest.Call{Writer: w, Request: r, Publisher: func() *core.Publisher { return FromRequest(r) }})
		if status, ok := errors.AsType[adaptertest.StatusError](err); ok {
			return HTTPError(status)
		}
		return err
	}
}

// TestConformance runs the suite for the adapter of the example.
func TestConformance(t *testing.T) {
	adaptertest.Run(t, adaptertest.Adapter{
		NoGroups: true,
		New: func(app adaptertest.App) http.Handler {
			router := &Router{}
			if app.Before != nil {
				router.Use(func(next Handler) Handler {
					return func(w http.ResponseWriter, r *http.Request) error { return next(w, app.Before(r)) }
				})
			}
			if app.Client != nil {
				router.Use(Middleware(app.Client, app.Options))
			}
			router.Add("", adaptertest.Path, handle(app.Handler))
			return router
		},
		Mount: func(app adaptertest.MountApp) (http.Handler, error) {
			router := &Router{}
			for _, path := range app.Own {
				router.Add("", path, status(http.StatusNoContent))
			}
			for _, client := range app.Clients {
				mount := Mount
				if app.ByRegister {
					mount = func(router *Router, client *core.Client) error { return Register(router, client, core.Options{}) }
				}
				if err := mount(router, client); err != nil {
					return router, err
				}
			}
			return router, nil
		},
		Register: func(client *core.Client, options core.Options, handler adaptertest.Handler) (http.Handler, error) {
			router := &Router{}
			err := Register(router, client, options)
			router.Add("", adaptertest.Path, handle(handler))
			return router, err
		},
	})
}

// TestConsume runs the suite's part about consumers.
func TestConsume(t *testing.T) {
	adaptertest.RunConsume(t, func(app adaptertest.ConsumeApp) (http.Handler, error) {
		router := &Router{}
		if app.Client != nil {
			router.Use(Middleware(app.Client, core.Options{}))
		}
		for _, path := range app.Own {
			router.Add("", app.Prefix+path, status(http.StatusAccepted))
		}
		return router, Consume(router, app.Prefix+app.Path, app.Handler)
	})
}

// status answers with a status.
func status(code int) Handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(code)
		return nil
	}
}
