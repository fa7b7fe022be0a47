package devserver

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/pagetest"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestRestartWithFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a ?#%20 b", "dev.db")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	good, bad := pagetest.NewConsumer(t, 200), pagetest.NewConsumer(t, 503)
	s := start(t, Options{File: file})
	s.addTopic("orders", good.URL, bad.URL)
	s.accept(wire.ConsumersPath, `{"topic":"orders","target":"t","type":"pubsub","active":true}`)
	s.addTopic("later", good.URL+"/later")
	s.publish("orders", `{"order":17,  "spaced":"<&>\u00e9"}`)
	s.accept(wire.SchedulePath, `{"topic":"later","payload":{},"attributes":{},"schedule_at":"2099-01-02T03:04:05Z"}`)
	s.post("/dev/consumers/4/pause", url.Values{})
	s.publish("later", `{"n":2}`)
	eventually(t, func() bool { return strings.Count(s.get("/dev/attempts"), `id="attempt-`) == 2 }, "both attempts have ended")
	pages := []string{"/dev/topics", "/dev/consumers", "/dev/messages", "/dev/messages/1", "/dev/messages/2", "/dev/messages/3", "/dev/attempts", "/dev/messages/1/payload"}
	was := make(map[string]string)
	eventually(t, func() bool { return strings.Contains(s.get("/dev/messages/3"), "paused") }, "it waits")
	for _, page := range pages {
		was[page] = withoutTime(s.get(page))
	}
	require.NoError(t, s.stop())
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "payloads are private")

	s = start(t, Options{File: file})
	for _, page := range pages {
		assert.Equal(t, was[page], withoutTime(s.get(page)), page)
	}
	assert.Len(t, good.Received(), 1, "a delivered message is not delivered again")
	// Names are still taken, ids are not reused, and jobs continue.
	status, _ := s.api(wire.TopicsPath, `{"name":"orders","origin_host":"h"}`)
	assert.Equal(t, 409, status)
	bad.Status.Store(200)
	s.post("/dev/jobs/2/retry", url.Values{})
	eventually(t, func() bool { return len(bad.Received()) == 2 }, "the second attempt")
	assert.Equal(t, []string{"2", "2"}, bad.IDs())
	assert.Equal(t, `{"id":[20003,20002,20001]}`, s.accept(wire.MessagePath, `{"topic":"orders","payload":{},"attributes":{}}`))
	assert.Contains(t, s.get("/dev/messages"), `id="message-4"`)
}

// withoutTime removes the time of a page.
func withoutTime(body string) string {
	before, after, _ := strings.Cut(body, `id="freshness"`)
	_, after, _ = strings.Cut(after, "</p>")
	return before + after
}

func TestFileInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.db")
	start(t, Options{File: file})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := Run(ctx, Options{Addr: "127.0.0.1:0", File: file})
	require.ErrorIs(t, err, ErrFileInUse)
	assert.ErrorContains(t, err, file)
}

func TestFilesThatAreSomethingElse(t *testing.T) {
	directory := t.TempDir()
	path := func(name string) string { return filepath.Join(directory, name) }
	run := func(name string) error {
		return Run(t.Context(), Options{Addr: "127.0.0.1:0", File: path(name)})
	}
	change := func(name, statement string) {
		db, err := sql.Open("sqlite", path(name))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
	text := strings.Repeat("a shopping list\n", 1000)
	require.NoError(t, os.WriteFile(path("text"), []byte(text), 0o600))
	require.ErrorIs(t, run("text"), ErrFileForeign)
	content, err := os.ReadFile(path("text"))
	require.NoError(t, err)
	assert.Equal(t, text, string(content), "the file is unchanged")

	change("other", "CREATE TABLE mine (id INTEGER)")
	require.ErrorIs(t, run("other"), ErrFileForeign)
	require.ErrorIs(t, run("."), ErrFileForeign)
	require.ErrorIs(t, run("missing/dev.db"), os.ErrNotExist)

	s := start(t, Options{File: path("dev.db")})
	s.addTopic("orders", "http://127.0.0.1:9/")
	s.publish("orders", "{}")
	require.NoError(t, s.stop())
	change("dev.db", "PRAGMA user_version = 2")
	require.ErrorIs(t, run("dev.db"), ErrFileNewer)
	change("dev.db", "PRAGMA user_version = 1; DELETE FROM records WHERE kind = 'message'")
	require.ErrorContains(t, run("dev.db"), "job 1 cannot be restored: message 1 is missing")
	assert.ErrorContains(t, run("dev.db"), path("dev.db"))
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev.db")
	opened, err := openFile(t.Context(), path)
	require.NoError(t, err)
	key := func(number int64) postofficetest.RecordKey {
		return postofficetest.RecordKey{Kind: postofficetest.MessageRecord, Number: number}
	}
	record := func(number int64, data string) postofficetest.Record {
		return postofficetest.Record{RecordKey: key(number), Data: []byte(data)}
	}
	for _, step := range []struct {
		changes postofficetest.Changes
		want    []postofficetest.Record
	}{
		{postofficetest.Changes{All: true, Records: []postofficetest.Record{record(1, "a"), record(2, "b")}}, []postofficetest.Record{record(1, "a"), record(2, "b")}},
		{postofficetest.Changes{Records: []postofficetest.Record{record(2, "c"), record(3, "d")}, Forgotten: []postofficetest.RecordKey{key(1), key(9)}}, []postofficetest.Record{record(2, "c"), record(3, "d")}},
		{postofficetest.Changes{All: true, Records: []postofficetest.Record{record(3, "e")}}, []postofficetest.Record{record(3, "e")}},
	} {
		require.NoError(t, opened.save(t.Context(), step.changes))
		require.NoError(t, opened.close())
		opened, err = openFile(t.Context(), path)
		require.NoError(t, err)
		records, err := opened.load(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, step.want, records)
	}
	require.NoError(t, opened.close())
	assert.ErrorContains(t, opened.save(t.Context(), postofficetest.Changes{}), path)
}

// broken is a store that fails while err is set.
type broken struct {
	err   error
	saved []postofficetest.Changes
}

func (b *broken) save(_ context.Context, changes postofficetest.Changes) error {
	if b.err == nil {
		b.saved = append(b.saved, changes)
	}
	return b.err
}

// The server rejects requests whose changes cannot be stored, and stores them later.
func TestStoreFails(t *testing.T) {
	store := &broken{err: errors.New("no space left")}
	var log lockedBuffer
	o, err := Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}.withDefaults()
	require.NoError(t, err)
	a := newApp(t.Context(), o)
	a.keeper.store = store
	server, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime(), postofficetest.WithFront(a.front))
	require.NoError(t, err)
	defer server.Close()
	s := &running{t: t, url: server.URL(), client: newClient(t)}

	const topic = `{"name":"orders","origin_host":"h"}`
	for range 3 {
		status, body := s.api(wire.TopicsPath, topic)
		assert.Equal(t, 500, status)
		assert.JSONEq(t, `{"errors":{"detail":"Internal Server Error"}}`, body)
	}
	assert.Equal(t, 1, strings.Count(log.String(), "cannot write its file"), "it is logged once")
	store.err = nil
	status, _ := s.api(wire.TopicsPath, topic)
	assert.Equal(t, 409, status)
	assert.Contains(t, log.String(), "can write its file again")
	require.Len(t, store.saved, 1)
	assert.True(t, store.saved[0].All)
	assert.Len(t, store.saved[0].Records, 1)
	assert.Equal(t, 200, s.do("GET", wire.HealthPath, nil).status)
}
