package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// stand is a kind of outbox.
type stand struct {
	name string
	// make creates an outbox with records, and returns the flags that name
	// it. The outbox is not in use when it returns, unless it may be.
	make func(t *testing.T, records []outbox.Record) []string
}

var stands = []stand{
	{"embedded", func(t *testing.T, records []outbox.Record) []string {
		path := filepath.Join(t.TempDir(), "outbox ä?#%.db")
		store, err := sqlite.Open(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, store.Insert(t.Context(), time.Hour, records...))
		require.NoError(t, store.Close())
		return []string{"--outbox", path}
	}},
	{"table in SQLite", func(t *testing.T, records []outbox.Record) []string {
		path := filepath.Join(t.TempDir(), "app ä?#%.db")
		address := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=journal_mode(WAL)"}
		fill(t, "sqlite", address.String(), sqlstore.SQLite, "", records)
		db, err := sql.Open("sqlite", address.String())
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "PRAGMA application_id = 7") // an app may have one
		require.NoError(t, err)
		require.NoError(t, db.Close())
		return []string{"--outbox", path}
	}},
	{"named table in SQLite", func(t *testing.T, records []outbox.Record) []string {
		path := filepath.Join(t.TempDir(), "app.db")
		fill(t, "sqlite", path, sqlstore.SQLite, "letters", records)
		return []string{"-o", path, "--table", "letters"}
	}},
	{"PostgreSQL", func(t *testing.T, records []outbox.Record) []string {
		address := testdb.Postgres(t).Create(t)
		fill(t, "postgres", address, sqlstore.Postgres, "", records)
		return []string{"--outbox", address}
	}},
	{"MariaDB", func(t *testing.T, records []outbox.Record) []string {
		dsn := testdb.MariaDB(t).Create(t)
		fill(t, "mysql", dsn, sqlstore.MySQL, "letters", records)
		return []string{"--outbox", mysqlURL(t, dsn), "--table", "letters"}
	}},
}

// fill makes a table with records. It stays open during the test.
func fill(t *testing.T, driver, dsn string, dialect sqlstore.Dialect, table string, records []outbox.Record) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	var options []sqlstore.Option
	if table != "" {
		options = append(options, sqlstore.WithTable(table))
	}
	require.NoError(t, sqlstore.Migrate(t.Context(), db, dialect, options...))
	store, err := sqlstore.New(db, dialect, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Insert(t.Context(), time.Hour, records...))
}

// mysqlURL turns the driver's name of a database into a URL.
func mysqlURL(t *testing.T, dsn string) string {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	address := url.URL{Scheme: "mysql", Host: config.Addr, Path: "/" + config.DBName, User: url.UserPassword(config.User, config.Passwd)}
	return address.String()
}

// letters makes records: each tenth is dead, each fifth of another topic.
func letters(n int) []outbox.Record {
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = outbox.Record{
			ID: uuid.Must(uuid.NewV7()).String(), Topic: "orders",
			Payload: json.RawMessage(fmt.Sprintf(`{"n":%d,"html":"<&>","one":1.0}`, i)), Attributes: json.RawMessage(`{"a":"1"}`),
		}
		if i%5 == 4 {
			records[i].Topic = "refunds"
		}
		if i%10 == 9 {
			records[i].State, records[i].LastError = outbox.Dead, "refused\x1b[31m"
		}
	}
	return records
}

// eachStand runs a test on every kind of outbox, with 50 messages.
func eachStand(t *testing.T, test func(t *testing.T, records []outbox.Record, run func(arguments ...string) result)) {
	for _, stand := range stands {
		t.Run(stand.name, func(t *testing.T) {
			records := letters(50)
			flags := stand.make(t, records)
			test(t, records, func(arguments ...string) result {
				return run(t, append(append([]string{"outbox"}, arguments...), flags...)...)
			})
		})
	}
}

// listed reads JSON Lines.
func listed(t *testing.T, r result) []recordResult {
	t.Helper()
	var records []recordResult
	for line := range strings.Lines(r.stdout) {
		var record recordResult
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		records = append(records, record)
	}
	return records
}

func idsOf(records []recordResult) []string {
	ids := make([]string, len(records))
	for i, record := range records {
		ids[i] = record.ID
	}
	return ids
}

func TestOutboxLook(t *testing.T) {
	eachStand(t, func(t *testing.T, records []outbox.Record, run func(...string) result) {
		var count countResult
		run("count", "--json").is(exit.OK).decode(&count)
		assert.Equal(t, 50, count.Pending+count.Dead)
		assert.Equal(t, 5, count.Dead)
		assert.Positive(t, count.Bytes)
		assert.NotNil(t, count.Oldest)
		assert.Contains(t, run("count").is(exit.OK).stdout, "pending  45\ndead     5\n")

		all := listed(t, run("list", "--json").is(exit.OK))
		require.Len(t, all, 50)
		for i, record := range all {
			assert.Equal(t, records[i].ID, record.ID)
		}
		assert.Equal(t, "pending", all[0].State)
		assert.Nil(t, all[0].Payload)
		assert.Len(t, listed(t, run("list", "--json", "--state", "dead")), 5)
		assert.Len(t, listed(t, run("list", "--json", "--topic", "refunds", "--state", "pending")), 5)
		assert.Equal(t, idsOf(all[:33]), idsOf(listed(t, run("list", "--json", "--limit", "33"))))
		assert.Equal(t, idsOf(all[33:]), idsOf(listed(t, run("list", "--json", "--after", all[32].ID))))

		text := run("list", "--state", "dead").is(exit.OK).stdout
		assert.Equal(t, 6, strings.Count(text, "\n"))
		assert.Contains(t, text, `"refused\x1b[31m"`)
		assert.NotContains(t, text, "\x1b")
		run("list", "--topic", "none").is(exit.OK).says("no such messages")

		for _, i := range []int{0, 9, 27, 49} {
			shown := run("show", records[i].ID, "--json").is(exit.OK)
			require.Equal(t, []string{records[i].ID}, idsOf(listed(t, shown)))
			assert.Contains(t, shown.stdout, `"payload":`+string(records[i].Payload))
			assert.Contains(t, run("show", records[i].ID).is(exit.OK).stdout, string(records[i].Payload))
		}
		run("show", "0197f0f2-6f4e-7c3b-9d57-0d1c5f7a2b11").is(exit.Failed).says("has no message")
	})
}

// TestOutboxShowsMetadata has metadata in the payload, shown apart from it.
func TestOutboxShowsMetadata(t *testing.T) {
	records := letters(2)
	records[1].Payload = json.RawMessage(`{"_postoffice":{"message_id":"m-7"},"n":1,"html":"<&>"}`)
	flags := stands[0].make(t, records)
	show := func(i int, arguments ...string) result {
		return run(t, append(append([]string{"outbox", "show", records[i].ID}, arguments...), flags...)...).is(exit.OK)
	}
	var got recordResult
	show(1, "--json").decode(&got)
	assert.Equal(t, `{"message_id":"m-7"}`, string(got.Metadata))
	assert.Equal(t, `{"n":1,"html":"<&>"}`, string(got.Payload))
	assert.Equal(t, `{"a":"1"}`, string(got.Attrs))
	assert.Contains(t, show(1).stdout, "metadata    {\"message_id\":\"m-7\"}\npayload     {\"n\":1,\"html\":\"<&>\"}\n")
	assert.NotContains(t, show(0).stdout, "metadata")
	assert.NotContains(t, show(0, "--json").stdout, "metadata")
}

func TestOutboxChange(t *testing.T) {
	eachStand(t, func(t *testing.T, records []outbox.Record, run func(...string) result) {
		count := func() (c countResult) {
			run("count", "--json").is(exit.OK).decode(&c)
			return c
		}
		assert.JSONEq(t, `{"retried":1}`, run("retry", "--json", records[9].ID, records[9].ID).is(exit.OK).stdout)
		assert.Equal(t, 4, count().Dead)
		assert.Equal(t, "4 messages retried\n", run("retry", "--topic", "refunds", "--state", "dead").is(exit.OK).stdout)
		assert.Equal(t, 50, count().Pending)
		run("retry", records[0].ID, "missing").is(exit.Partly).says("1 of 2 messages are not in the outbox")
		run("retry", "missing").is(exit.Failed).says("1 of 1 messages")
		assert.Equal(t, "0 messages retried\n", run("retry", "--all", "--state", "dead").is(exit.OK).stdout)

		run("discard", "--all").is(exit.Usage).says("--yes")
		assert.Equal(t, 50, count().Pending)
		assert.JSONEq(t, `{"discarded":2}`, run("discard", "--json", "--yes", records[0].ID, records[1].ID).is(exit.OK).stdout)
		assert.JSONEq(t, `{"discarded":10}`, run("discard", "--json", "--yes", "--topic", "refunds").is(exit.OK).stdout)
		assert.JSONEq(t, `{"discarded":0}`, run("discard", "--json", "--yes", "--all", "--state", "dead").is(exit.OK).stdout)
		assert.Equal(t, 38, count().Pending)
		assert.JSONEq(t, `{"discarded":38}`, run("discard", "--json", "-y", "--all").is(exit.OK).stdout)
		assert.Zero(t, count().Pending)
	})
}

// TestOutboxDeliver delivers from every kind of outbox.
func TestOutboxDeliver(t *testing.T) {
	eachStand(t, func(t *testing.T, records []outbox.Record, run func(...string) result) {
		server := office(t)
		run("discard", "--yes", "--topic", "refunds").is(exit.OK)
		run("retry", "--all").is(exit.OK)
		var got deliverResult
		run("deliver", "--json", "--url", withPassword(server.URL())).is(exit.OK).decode(&got)
		assert.Equal(t, deliverResult{Delivered: 40}, got)
		assert.Len(t, server.Messages(), 40)
		assert.Contains(t, payloads(server), string(records[0].Payload))
	})
}

// TestOutboxDeliverBeforeDue has messages whose turn is in an hour: those of a
// file that nobody else has are delivered, those that are shared are left.
func TestOutboxDeliverBeforeDue(t *testing.T) {
	server := office(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "refunds"}))
	for i, want := range []deliverResult{{Delivered: 45, Dead: 5}, {Pending: 45, Dead: 5}} {
		flags := stands[i].make(t, letters(50))
		var got deliverResult
		run(t, append([]string{"outbox", "deliver", "--json", "--for", "1s", "--url", server.URL()}, flags...)...).is(exit.Partly).decode(&got)
		assert.Equal(t, want, got, stands[i].name)
	}
}

// TestOutboxInUse has an app hold the file.
func TestOutboxInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	store, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for _, records := range [][]outbox.Record{nil, letters(3)} { // fresh, and with something in it
		require.NoError(t, store.Insert(t.Context(), 0, records...))
		run(t, "outbox", "list", "--outbox", path).is(exit.InUse).says("in use", "a running app locks its outbox file", "stop it")
		run(t, "publish", "orders", "{}", "--url", "http://127.0.0.1:1", "--outbox", path).is(exit.InUse)
	}
	require.NoError(t, store.Insert(t.Context(), 0, letters(3)...), "the app is not disturbed")
}

func TestOutboxUnusable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.db")
	run(t, "outbox", "list", "--outbox", missing).is(exit.Failed).says("there is no file "+missing, "check the path")
	assert.NoFileExists(t, missing)
	run(t, "publish", "orders", "{}", "--outbox", missing).is(exit.Usage).says("URL is required")
	assert.NoFileExists(t, missing, "an outbox is not created in vain")
	run(t, "outbox", "list", "--outbox", t.TempDir()).is(exit.Failed).says("not a regular file")
	run(t, "outbox", "list", "--outbox", textFile(t, strings.Repeat("no database ", 1000))).is(exit.Failed).says("not an outbox")
	run(t, "outbox", "list", "--outbox", filepath.Join(missing, "x")).is(exit.Failed)

	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := sql.Open("sqlite", foreign)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE orders (id INTEGER); PRAGMA application_id = 7")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	before, err := os.ReadFile(foreign)
	require.NoError(t, err)
	run(t, "outbox", "list", "--outbox", foreign).is(exit.Failed).says("another application", "--table NAME")
	run(t, "outbox", "list", "--outbox", foreign, "--table", "letters").is(exit.Failed).says("letters", "--table NAME")
	run(t, "outbox", "list", "--outbox", foreign, "--table", "no;table").is(exit.Usage).says("check --table")
	after, err := os.ReadFile(foreign)
	require.NoError(t, err)
	assert.Equal(t, before, after)

	run(t, "outbox", "list", "--outbox", "postgres://user:"+secret+"@127.0.0.1:1/x").is(exit.Failed).says("refused", "that the database runs")
	run(t, "outbox", "list", "--outbox", "mysql://user:"+secret+"@127.0.0.1:1/x").is(exit.Failed).says("refused", "that the database runs")
	run(t, "outbox", "list", "--outbox", "mysql://user:"+secret+"@127.0.0.1:1/x?tls=nonsense").is(exit.Usage).says("MySQL's driver")
	run(t, "outbox", "list", "--outbox", "postgres://user:"+secret+"@127.0.0.1:1/x?sslmode=nonsense").is(exit.Usage).says("PostgreSQL's driver")
}

// TestOutboxThroughPooler reaches a database through a pooler that gives each
// transaction another connection, and the connection to others afterwards.
func TestOutboxThroughPooler(t *testing.T) {
	records := letters(50)
	direct := testdb.Postgres(t).Create(t)
	fill(t, "postgres", direct, sqlstore.Postgres, "", records)
	pooled := testdb.PgBouncer(t, direct)
	var count countResult
	for range 2 {
		run(t, "outbox", "count", "--json", "--outbox", pooled).is(exit.OK).decode(&count)
		assert.Equal(t, 50, count.Pending+count.Dead)
		run(t, "outbox", "list", "--outbox", pooled).is(exit.OK)
		run(t, "outbox", "retry", records[9].ID, "--outbox", pooled).is(exit.OK)
	}
	run(t, "outbox", "discard", "--topic", "refunds", "--yes", "--outbox", pooled).is(exit.OK)

	// Who prepares all the same is told why it fails.
	prepared := pooled + "&default_query_exec_mode=cache_statement"
	for attempt := 0; ; attempt++ {
		require.Less(t, attempt, 3)
		if result := run(t, "outbox", "list", "--outbox", prepared); result.code != exit.OK {
			result.is(exit.Failed).says("PgBouncer", "default_query_exec_mode")
			break
		}
	}
	run(t, "outbox", "list", "--outbox", pooled+"&search_path=public").is(exit.Failed).says("PgBouncer", "ignore_startup_parameters")
}

// TestOutboxOfAStrangeSession names the setting of a URL with which nothing
// would be committed.
func TestOutboxOfAStrangeSession(t *testing.T) {
	dsn := testdb.MariaDB(t).Create(t)
	fill(t, "mysql", dsn, sqlstore.MySQL, "", letters(10))
	run(t, "outbox", "retry", "--all", "--outbox", mysqlURL(t, dsn)+"?autocommit=0").is(exit.Failed).says("autocommit is OFF", "change the setting")
}

// TestOutboxMissingTable asks databases without the table.
func TestOutboxMissingTable(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		address := testdb.Postgres(t).Create(t)
		run(t, "outbox", "list", "--outbox", address).is(exit.Failed).says("postoffice_outbox is missing", "--table NAME")
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		parsed.User = url.UserPassword("nobody", secret)
		run(t, "outbox", "list", "--outbox", parsed.String()).is(exit.Failed).says("credentials")
	})
	t.Run("MariaDB", func(t *testing.T) {
		address := mysqlURL(t, testdb.MariaDB(t).Create(t))
		run(t, "outbox", "list", "--outbox", address).is(exit.Failed).says("postoffice_outbox is missing", "--table NAME")
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		parsed.User = url.UserPassword("nobody", secret)
		run(t, "outbox", "list", "--outbox", parsed.String()).is(exit.Failed).says("credentials")
	})
}

// TestOutboxByEnvironment names the outbox by a variable.
func TestOutboxByEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	store, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, store.Close())
	var count countResult
	prepare(t, []string{"POSTOFFICE_OUTBOX=" + path}, "outbox", "count", "--json").start().wait().is(exit.OK).decode(&count)
	assert.Equal(t, countResult{}, count)
}

// slowCount is a store that takes for ever to count, or as long as it may.
type slowCount struct{ outbox.Store }

func (slowCount) Count(ctx context.Context, _ outbox.Selection) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestSlowCount does without the number when counting takes too long.
func TestSlowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n, err := howMany(t.Context(), slowCount{}, outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Negative(t, n)
		assert.Equal(t, countTimeout, time.Since(began))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = howMany(ctx, slowCount{}, outbox.Selection{All: true})
		require.ErrorIs(t, err, context.Canceled)
	})
	store := memory.New()
	require.NoError(t, store.Close())
	_, err := howMany(t.Context(), store, outbox.Selection{All: true})
	require.ErrorIs(t, err, outbox.ErrClosed)
	assert.Equal(t, exit.Failed, exit.CodeOf(t.Context(), err))
}

func TestDescribe(t *testing.T) {
	dead := outbox.Dead
	two := outbox.Selection{IDs: []string{"1", "2"}}
	all := outbox.Selection{All: true, State: &dead}
	topic := outbox.Selection{Topic: "orders", State: &dead}
	for want, got := range map[string]string{
		"1 message": describe(two, 1), "2 messages": describe(two, 2), "up to 2 messages": describe(two, -1),
		"1 dead message": describe(all, 1), "all 3 dead messages": describe(all, 3), "all dead messages": describe(all, -1),
		`1 dead message of the topic "orders"`: describe(topic, 1), `all dead messages of the topic "orders"`: describe(topic, -1),
	} {
		assert.Equal(t, want, got)
	}
}
