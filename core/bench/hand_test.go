package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// byHand posts messages with net/http, as one does who knows it well.
type byHand struct {
	client *http.Client
	url    string
}

func newByHand(address string, timeout time.Duration) *byHand {
	return &byHand{
		url: "http://" + address,
		client: &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				MaxIdleConnsPerHost: 128,
				IdleConnTimeout:     50 * time.Second,
				DisableCompression:  true,
			},
		},
	}
}

func (h *byHand) close(testing.TB) { h.client.CloseIdleConnections() }

// post encodes a body and sends it.
func (h *byHand) post(ctx context.Context, path string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return h.send(ctx, path, encoded)
}

// send sends a body and drains the answer.
func (h *byHand) send(ctx context.Context, path string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("the server answered %s", response.Status)
	}
	return nil
}

// counted runs some work, measures it, and makes sure that the server has got
// the messages.
func counted(tb testing.TB, server *helper, messages int, work func()) figures {
	result, lost := tally(tb, server, messages, work)
	require.Zero(tb, lost, "messages that the server has not got")
	return result
}

// tally runs some work, measures it, and returns how many messages the server
// has not got.
func tally(tb testing.TB, server *helper, messages int, work func()) (result figures, missing int) {
	before := server.report(tb)
	result = measure(tb, messages, work)
	after := server.report(tb)
	result["posts/msg"] = float64(after.Requests-before.Requests) / float64(messages)
	result["server-ns/msg"] = float64((after.Processor - before.Processor).Nanoseconds()) / float64(messages)
	return result, messages - (after.Messages - before.Messages)
}
