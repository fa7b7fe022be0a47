package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
)

// network connects the shop to the server, and can lose an answer: the server has
// accepted the message, and the shop does not know.
type network struct {
	*http.Transport
	// lost is the event to wait for before an answer is lost; nil to lose none.
	lost atomic.Pointer[<-chan struct{}]
}

func newNetwork() *network {
	return &network{Transport: http.DefaultTransport.(*http.Transport).Clone()}
}

// loseNextAnswer loses the next answer that accepts a message, when the event has
// happened or the shop no longer waits.
func (n *network) loseNextAnswer(event <-chan struct{}) { n.lost.Store(&event) }

// RoundTrip sends a request.
func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := n.Transport.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusCreated {
		return response, err
	}
	event := n.lost.Swap(nil)
	if event == nil {
		return response, nil
	}
	select {
	case <-*event:
	case <-request.Context().Done():
	}
	lost := fmt.Errorf("the answer is lost: %w", os.ErrDeadlineExceeded)
	return nil, errors.Join(lost, response.Body.Close())
}
