//go:build unix

package faults

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// direct carries requests to a handler without a network, so that a client in
// a bubble of testing/synctest, whose time is not real, reaches the fake
// server. The server is made outside: its socket would hold up the time.
type direct struct {
	handler http.Handler
	// delay is how long, by the bubble's time, a request takes.
	delay time.Duration
}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	select {
	case <-time.After(d.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	request := r.Clone(r.Context())
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.RequestURI = r.URL.RequestURI()
	recorder := httptest.NewRecorder()
	var aborted any
	func() {
		defer func() { aborted = recover() }()
		d.handler.ServeHTTP(recorder, request)
	}()
	if aborted != nil {
		return nil, io.EOF // what a client sees of a handler that aborts
	}
	return recorder.Result(), nil
}
