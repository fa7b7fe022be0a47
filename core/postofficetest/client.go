package postofficetest

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/postoffice-go/postoffice/core"
)

// OriginHost is the default Config.OriginHost of a client made by [NewClient].
// Nothing listens there; the client's recovery endpoint requires its user and
// password.
const OriginHost = "http://user:secret@127.0.0.1:9"

// clientPatience is how long NewClient waits for a client to start, and to stop.
const clientPatience = 10 * time.Second

// NewClient creates a client of the server, starts it, and stops it when the test
// ends. The test fails if any of these steps fails.
//
//	server := postofficetest.Start(t)
//	client := postofficetest.NewClient(t, server, core.Config{Topics: []string{"orders"}})
//
// The client has the given Config with two more defaults: the server's URL, and
// [OriginHost]. Starting and stopping may take 10 s each.
func NewClient(tb testing.TB, server *Server, config core.Config) *core.Client {
	tb.Helper()
	config.URL = cmp.Or(config.URL, server.URL())
	config.OriginHost = cmp.Or(config.OriginHost, OriginHost)
	client, err := core.NewClient(config)
	if err != nil {
		tb.Fatalf("postofficetest: creating a client: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clientPatience)
		defer cancel()
		if err := client.Stop(ctx); err != nil {
			tb.Errorf("postofficetest: stopping the client: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), clientPatience)
	defer cancel()
	if err := client.Start(ctx); err != nil {
		tb.Fatalf("postofficetest: starting the client: %v", err)
	}
	return client
}
