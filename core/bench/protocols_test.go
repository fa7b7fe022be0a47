package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// serveBoth starts a server of net/http that speaks HTTP/1.1 and HTTP/2 in clear
// text, with the cost of this one, and returns its address.
func (s *server) serveBoth() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	web := &http.Server{Protocols: protocols(true, true), ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the client has ended the request
			}
			s.take(body)
			answer := `{"id":[1]}`
			if r.URL.Path == "/api/bulk_messages" {
				answer = `{"result":[1]}`
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, answer)
		})}
	go func() { _ = web.Serve(listener) }() // until the process ends
	return listener.Addr().String(), nil
}

func protocols(http1, http2 bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(http2)
	return p
}

// protocolScenarios are single messages over HTTP/1.1, the floor, and over
// HTTP/2 in clear text.
func protocolScenarios(tb testing.TB) []scenario {
	server := startHelper(tb)
	server.ask(tb, "model")
	server.address = server.ask(tb, "both")
	var scenarios []scenario
	for _, concurrency := range []int{1, 16, 64} {
		sc := scenario{name: fmt.Sprintf("concurrency=%d", concurrency)}
		for _, protocol := range []struct {
			name  string
			http2 bool
		}{{"http1", false}, {"h2c", true}} {
			sc.sides = append(sc.sides, side{protocol.name, func(tb testing.TB) job {
				transport := &http.Transport{
					MaxIdleConnsPerHost: 128,
					DisableCompression:  true,
					Protocols:           protocols(!protocol.http2, protocol.http2),
				}
				client := newClient(tb, server, core.Config{HTTPClient: &http.Client{Transport: transport}})
				run := func(tb testing.TB, n int) figures {
					return published(tb, server, n, concurrency, func(int) func(int) {
						return func(i int) {
							_, err := client.Publish(tb.Context(), topic, newOrder(i))
							assert.NoError(tb, err)
						}
					})
				}
				return job{run, func(tb testing.TB) {
					stop(tb, client)
					transport.CloseIdleConnections()
				}}
			}})
		}
		scenarios = append(scenarios, sc)
	}
	return scenarios
}

func TestServeBoth(t *testing.T) {
	server := startHelper(t)
	address := server.ask(t, "both")
	for want, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		transport := &http.Transport{Protocols: protocols(!http2, http2)}
		response, err := (&http.Client{Transport: transport}).Get("http://" + address)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, want, response.Proto)
		transport.CloseIdleConnections()
	}
}
