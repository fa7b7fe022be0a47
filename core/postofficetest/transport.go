package postofficetest

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport returns a transport that carries requests to the server without a
// network, whatever their URL's host. It is meant for tests in a bubble of
// testing/synctest, whose time stands still while a goroutine waits for the
// network:
//
//	server := postofficetest.Start(t) // outside of the bubble: it listens
//	synctest.Test(t, func(t *testing.T) {
//		client := postofficetest.NewClient(t, server, core.Config{
//			HTTPClient: &http.Client{Transport: server.Transport()},
//		})
//		// ...
//	})
//
// Faults apply, but for [Server.Stop], which closes connections that are not
// there: an outage is [Server.FailWhen], [Server.ResetNext] or [Server.Hang].
// Deliveries to HTTP consumers still need the network; paused and pubsub
// consumers do not.
func (s *Server) Transport() http.RoundTripper { return direct{s.Handler()} }

// direct is an http.RoundTripper of a handler.
type direct struct{ handler http.Handler }

// RoundTrip is part of http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.ContentLength = int64(len(body))
	request.Host = cmp.Or(r.Host, r.URL.Host)
	request.RequestURI = r.URL.RequestURI()
	recorder := httptest.NewRecorder()
	answered := make(chan bool, 1)
	go func() { answered <- d.serve(recorder, request) }()
	select {
	case complete := <-answered:
		switch {
		case r.Context().Err() != nil:
			return nil, r.Context().Err()
		case !complete:
			return nil, io.EOF // what a client sees of a connection that was cut
		}
		response := recorder.Result()
		response.Request = r
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// serve reports whether the handler gave an answer, and did not abort.
func (d direct) serve(w http.ResponseWriter, r *http.Request) (complete bool) {
	defer func() {
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // the very value, as net/http does
			panic(reason)
		}
	}()
	d.handler.ServeHTTP(w, r)
	return true
}
