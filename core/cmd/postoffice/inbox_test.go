package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// TestInbox has the commands of an outbox work on an inbox, in other words.
func TestInbox(t *testing.T) {
	records := letters(50)
	path := filepath.Join(t.TempDir(), "inbox.db")
	store, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	require.NoError(t, store.Close())
	app := filepath.Join(t.TempDir(), "app.db")
	fill(t, "sqlite", app, sqlstore.SQLite, inboxBox.table, records)
	fill(t, "sqlite", app, sqlstore.SQLite, "", records[:1]) // beside its outbox

	for _, place := range []string{path, app} {
		of := func(arguments ...string) result {
			return run(t, append(append([]string{"inbox"}, arguments...), "-i", place)...)
		}
		var count countResult
		of("count", "--json").is(exit.OK).decode(&count)
		assert.Equal(t, 45, count.Pending)
		assert.Equal(t, 5, count.Dead)
		assert.Len(t, listed(t, of("list", "--json", "--state", "dead")), 5)
		of("list", "--topic", "none").is(exit.OK).says("in the inbox")
		assert.Contains(t, of("show", records[7].ID).is(exit.OK).stdout, string(records[7].Payload))
		of("show", "missing").is(exit.Failed).says("the inbox has no message", "may have been handled", "postoffice inbox list")
		of("retry", records[9].ID, "missing").is(exit.Partly).says("1 of 2 messages are not in the inbox")
		assert.Equal(t, "1 message discarded\n", of("discard", "-y", records[0].ID).is(exit.OK).stdout)
		of("deliver").is(exit.Usage)
	}
	run(t, "inbox", "retry", "--all", "--inbox", path).is(exit.OK).says("handled when the app starts again")
	run(t, "inbox", "list").is(exit.Usage).says("there is no inbox: set --inbox (or POSTOFFICE_INBOX) to")
	run(t, "inbox", "list", "--inbox", filepath.Join(t.TempDir(), "the outbox.db")).is(exit.Failed).says("no file")
	help := run(t, "inbox", "retry", "--help").is(exit.OK).stdout + run(t, "inbox", "--help").is(exit.OK).stdout +
		run(t, "inbox", "discard", "--help").is(exit.OK).stdout + run(t, "inbox", "list", "--help").is(exit.OK).stdout
	assert.NotContains(t, help, "outbox ")
	assert.NotContains(t, help, "outbox.")
	assert.Contains(t, help, "postoffice_inbox")
	assert.Contains(t, run(t, "outbox", "retry", "--help").is(exit.OK).stdout, "\"outbox deliver\"")
}
