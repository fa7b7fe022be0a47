package postofficetest

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport returns a transport that passes requests to the server without a
// network, whatever host is in their URL. It is for tests in a bubble of
// testing/synctest, whose time stands still while a goroutine waits for the network:
//
//	server := postofficetest.Start(t) // outside the bubble: it listens
//	synctest.Test(t, func(t *testing.T) {
//		client := postofficetest.NewClient(t, server, core.Config{
//			HTTPClient: &http.Client{Transport: server.Transport()},
//		})
//		// ...
//	})
//
// All faults work except for [Server.Stop], because there are no connections to
// close: simulate an outage with [Server.FailWhen], [Server.ResetNext] or
// [Server.Hang]. Deliveries to HTTP consumers still need the network; paused and
// pubsub consumers do not.
func (s *Server) Transport() http.RoundTripper { return direct{s.Handler()} }

// direct is an http.RoundTripper over a handler.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
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
			return nil, io.EOF // the error of a client whose connection was cut
		}
		response := recorder.Result()
		response.Request = r
		return response, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// serve reports whether the handler has answered without aborting.
func (d direct) serve(w http.ResponseWriter, r *http.Request) (complete bool) {
	defer func() {
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // compares the value as net/http does
			panic(reason)
		}
	}()
	d.handler.ServeHTTP(w, r)
	return true
}
