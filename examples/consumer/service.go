package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// service is an HTTP server.
type service struct {
	url    string
	server *http.Server
	served chan error
}

// serve serves an app until the service is stopped.
func serve(listener net.Listener, app http.Handler) *service {
	s := &service{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: app, ReadHeaderTimeout: 5 * time.Second},
		served: make(chan error, 1),
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s
}

// stop waits for the requests in progress.
func (s *service) stop(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// stopping returns a context for stopping, even if the program's time is over.
func stopping(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}
