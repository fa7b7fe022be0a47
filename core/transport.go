package core

import "net/http"

// transport returns the app's own transport, nil for the client's default.
func (s *settings) transport() http.RoundTripper {
	switch {
	case s.httpClient == nil:
		return nil
	case s.httpClient.Transport == nil:
		return defaultTransport{}
	}
	return s.httpClient.Transport
}

// defaultTransport uses the current http.DefaultTransport for each request,
// because an app may replace it.
type defaultTransport struct{}

// RoundTrip implements [http.RoundTripper].
func (defaultTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r)
}

// CloseIdleConnections closes idle connections if the transport supports it.
func (defaultTransport) CloseIdleConnections() {
	if closer, ok := http.DefaultTransport.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
