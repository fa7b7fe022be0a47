package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environment(t *testing.T, url string) {
	t.Helper()
	t.Setenv("POSTOFFICE_URL", url)
	t.Setenv("POSTOFFICE_ORIGIN_HOST", "http://user:secret@origin.test")
	t.Setenv("POSTOFFICE_SETTINGS", "")
	t.Setenv("POSTOFFICE_TOPICS", "")
	t.Setenv("POSTOFFICE_CONSUMERS", "")
}

// The test with PostgreSQL is beside sqlstore, where a server of it runs.
func TestSQLite(t *testing.T) {
	environment(t, "")
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out))
	assert.Equal(t, `The database is sqlite.
The fake server gets a pubsub consumer, so that it keeps the messages.
Order 1, a unicorn: sold out, rolled back.
Order 2, a teapot: committed.
Its message was delivered.
Orders stored: [2]. Messages that arrived: 1.
`, out.String())
}

func TestServerOfYourOwn(t *testing.T) {
	server := postofficetest.Start(t)
	environment(t, server.URL())
	var out strings.Builder
	require.NoError(t, run(t.Context(), nil, &out))
	assert.Contains(t, out.String(), "Orders stored: [2].\n")
	messages := server.MessagesOf("orders")
	require.Len(t, messages, 1)
	assert.JSONEq(t, `{"number":2,"item":"teapot"}`, string(messages[0].Payload))
}

func TestDatabaseThatIsNotThere(t *testing.T) {
	environment(t, "")
	var out strings.Builder
	err := run(t.Context(), []string{"-postgres", "postgres://user:hunter2@127.0.0.1:1/shop?sslmode=disable"}, &out)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
	err = run(t.Context(), []string{"-postgres", "postgres://user:hunter2@[/"}, &out)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
	assert.Error(t, run(t.Context(), []string{"-nonsense"}, &out))
}
