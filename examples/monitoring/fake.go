package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// refusedItem is an item that the fake server refuses permanently.
const refusedItem = "unicorn"

// fakeServer is a fake Postoffice server in the process.
type fakeServer struct{ *postofficetest.Server }

func startFakeServer() (*fakeServer, error) {
	server, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime(), postofficetest.WithHistory(1000))
	if err != nil {
		return nil, err
	}
	server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
		return http.StatusBadRequest, bytes.Contains(body, []byte(`"`+refusedItem+`"`))
	})
	return &fakeServer{server}, nil
}

// comeAndGo alternates between up and down until the context ends.
func (f *fakeServer) comeAndGo(ctx context.Context, up, down time.Duration) {
	for {
		if !pause(ctx, up) {
			return
		}
		slog.Info("the fake server is down", "for", down)
		f.Stop()
		if !pause(ctx, down) {
			return
		}
		if err := f.Restart(); err != nil {
			slog.Error("the fake server cannot be restarted", "error", err)
			return
		}
		slog.Info("the fake server is up", "for", up)
	}
}

// pause waits, and reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
