package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Requests per second.
const (
	defaultRate = 10
	maxRate     = 1000
)

// sendTraffic sends requests to the app until the context ends.
func sendTraffic(ctx context.Context, address string, rate int) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		path, body := request(n)
		if err := send(ctx, client, address+path, body); err != nil && ctx.Err() == nil {
			slog.Warn("request failed", "path", path, "error", err)
		}
	}
}

// request returns the nth request: visits and orders alternately, and sometimes one
// that fails.
func request(n int) (path string, body any) {
	switch {
	case n%100 == 50: // discarded: the topic has no consumer
		return "/parcels", order{Number: n}
	case n%1000 == 100: // becomes dead
		return "/orders", order{Number: n, Item: refusedItem}
	case n%1000 == 300: // becomes dead in the inbox
		return "/orders", order{Number: n, Item: unknownItem}
	case n%2 == 0:
		return "/orders", order{Number: n, Item: "teapot"}
	case n%100 == 99: // discarded: the page fails
		return "/visits", visit{Page: brokenPage}
	default:
		return "/visits", visit{Page: "/teapots"}
	}
}

// send posts a request and ignores the answer.
func send(ctx context.Context, client *http.Client, address string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return err
}
