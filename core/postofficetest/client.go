package postofficetest

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// OriginHost is the Config.OriginHost of a client made by [NewClient], unless
// its Config has one. Nothing listens there; its user and password are those
// that the client's recovery endpoint asks for.
const OriginHost = "http://user:secret@127.0.0.1:9"

// clientPatience is how long NewClient waits for a client to start, and to
// stop.
const clientPatience = 10 * time.Second

// Client is what [NewClient] starts and stops: a *core.Client.
type Client interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// NewClient makes a client of the server and starts it; when the test ends,
// the client is stopped. The test fails when any of that does.
//
//	server := postofficetest.Start(t)
//	client := postofficetest.NewClient(t, server, core.NewClient, core.Config{Topics: []string{"orders"}})
//
// The client has the given Config with two more defaults: the server's URL,
// and [OriginHost]. Starting and stopping may take 10 s each.
//
// The constructor is an argument because this package does not import core,
// whose own tests use it: any function of a struct with the text fields URL
// and OriginHost will do.
func NewClient[Config any, C Client](tb testing.TB, server *Server, newClient func(Config) (C, error), config Config) C {
	tb.Helper()
	for field, value := range map[string]string{"URL": server.URL(), "OriginHost": OriginHost} {
		if err := setDefault(&config, field, value); err != nil {
			tb.Fatalf("postofficetest: %v", err)
		}
	}
	client, err := newClient(config)
	if err != nil {
		tb.Fatalf("postofficetest: making a client: %v", err)
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

// setDefault sets a text field of a struct that is empty.
func setDefault(config any, name, value string) error {
	structure := reflect.ValueOf(config).Elem()
	if structure.Kind() != reflect.Struct {
		return fmt.Errorf("%s is no struct", structure.Type())
	}
	field := structure.FieldByName(name)
	if field.Kind() != reflect.String || !field.CanSet() {
		return fmt.Errorf("%s has no text field %s", structure.Type(), name)
	}
	if field.Len() == 0 {
		field.SetString(value)
	}
	return nil
}
