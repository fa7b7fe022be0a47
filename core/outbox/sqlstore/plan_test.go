package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// explained returns how the database goes about a statement, as lines of text.
func explained(tb testing.TB, store *Store, db runner, prefix, statement string, args ...any) string {
	tb.Helper()
	rows, err := db.QueryContext(tb.Context(), prefix+" "+statement, args...)
	require.NoError(tb, err, statement)
	defer func() { require.NoError(tb, rows.Close()) }()
	names, err := rows.Columns()
	require.NoError(tb, err)
	var lines []string
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(tb, rows.Scan(into...))
		var line []string
		for i, value := range values {
			if store.dialect == Postgres || value.Valid {
				line = append(line, names[i]+"="+value.String)
			}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	require.NoError(tb, rows.Err())
	return strings.Join(lines, "\n")
}

// planned is a statement with its arguments.
type planned struct {
	text string
	args []any
}

// planStatements are those whose cost must not grow with the backlog.
func planStatements(store *Store, ids []string) map[string]planned {
	claim := outbox.ClaimOptions{Limit: 100, Lease: time.Hour}
	unscheduled := claim
	unscheduled.SkipScheduled = true
	changes := make([]outbox.Change, len(ids))
	for i, id := range ids {
		changes[i] = outbox.Change{ID: id, LeaseToken: "token"}
	}
	pending, dead := outbox.Pending, outbox.Dead
	name, literals := store.table.SQL(), store.dialect.literals()
	due := func(options outbox.ClaimOptions) planned {
		v := store.dialect.querying()
		text := store.dueText("id, size", store.due(options), options.Limit, 0, v)
		return planned{text, v.args}
	}
	query := func(text string, args []any) planned { return planned{text, args} }
	trialValues := store.dialect.querying()
	trial := store.trialText("id, size", "postoffice-trial-1", trialValues)
	v := store.dialect.querying()
	read := "SELECT " + columns + " FROM " + name + " WHERE id" + v.among(ids) + v.planned()
	statements := map[string]planned{
		"due":             due(claim),
		"due unscheduled": due(unscheduled),
		"trial":           {trial, trialValues.args},
		"next":            query(store.nextQuery()),
		"expired":         query(store.expiredQuery(100)),
		"finish":          {text: store.finishText(ids, time.Hour)},
		"delete":          {text: "DELETE FROM " + name + " WHERE id" + literals.among(ids)},
		"reschedule":      {text: store.rescheduleText(changes)},
		"list":            query(store.listQuery(outbox.Query{After: ids[0], Limit: 100})),
		"list dead":       query(store.listQuery(outbox.Query{State: &dead, After: ids[0], Limit: 100})),
		"read":            {read, v.args},
		"list pending":    query(store.listQuery(outbox.Query{State: &pending, After: ids[0], Limit: 100})),
		"retry pending":   {text: store.retryText(ids, func(v *values) string { return store.filter(v, "orders", &pending) })},
		"retry dead":      {text: store.retryText(ids, func(v *values) string { return store.filter(v, "", &dead) })},
	}
	for name, q := range map[string]outbox.Query{
		"list ids": {}, "list ids pending": {State: &pending}, "list ids dead": {State: &dead}, "list ids of a topic": {Topic: "orders", MaxPayload: -1},
	} {
		q.IDs, q.Limit = ids, 100
		statements[name] = query(store.listIDsQuery(q))
	}
	statements["list beginnings"] = query(store.listQuery(outbox.Query{After: ids[0], Limit: 100, MaxPayload: 10}))
	statements["list without payloads"] = query(store.listQuery(outbox.Query{After: ids[0], Limit: 100, MaxPayload: -1}))
	count := func(text func(v *values) string) planned {
		v := store.dialect.querying()
		return planned{text(v), v.args}
	}
	statements["count ids"] = count(func(v *values) string {
		return store.countIDsText(v, ids, &pending)
	})
	statements["topics"] = query(store.pageQuery("", "", 100))
	statements["topics up to one"] = query(store.pageQuery("orders", "rare", 100))
	statements["oldest topics"] = query(store.oldestQuery("orders"))
	topics := []topicwalk.Topic{{Name: "orders", Due: 1}, {Name: "rare", Due: 1}}
	byTopic, byTopicUnscheduled := claim, unscheduled
	byTopic.PerTopic, byTopicUnscheduled.PerTopic = 50, 50
	if store.dialect == Postgres {
		statements["claim"] = query(store.claimQuery(claim, "token"))
		statements["rows of topics"] = query(store.takeQuery(topics, byTopic, true, "token"))
		statements["rows of topics unscheduled"] = query(store.takeQuery(topics, byTopicUnscheduled, true, "token"))
	} else {
		statements["rows of topics"] = planned{text: store.candidatesText(topics, byTopic, 0)}
		statements["rows of a topic"] = planned{text: store.candidatesText(topics[:1], byTopic, 0)}
		statements["rows of topics unscheduled"] = planned{text: store.candidatesText(topics, byTopicUnscheduled, 0)}
	}
	if store.dialect == SQLite {
		statements["lease"] = planned{text: store.leaseText(ids, "due_at <= "+store.dialect.now(), micros(claim.Lease), "token")}
	}
	return statements
}

// plannedRows is how many rows a table has whose statements are planned: so many that
// reading all costs more than searching an index. SQLite searches for 5,000 in the way
// in which it does for more, and takes long to store them with the race detector.
func plannedRows(dialect Dialect) int {
	if dialect == SQLite {
		return 5000
	}
	return 20_000
}

// neverAnalyze makes PostgreSQL gather statistics of the table only when a test says so.
func neverAnalyze(t *testing.T, store *Store) {
	t.Helper()
	if store.dialect == Postgres {
		run(t, store.db.DB, "ALTER TABLE "+store.table.SQL()+" SET (autovacuum_enabled = off)")
	}
}

// TestPlans shows that each statement searches an index, in the order that it
// needs, whatever the database knows of the table: nothing, what it was when it
// was empty, or what it is.
func TestPlans(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		for _, analyzed := range []string{"never", "when empty", "when full"} {
			store := opened(t, stand.open(t), stand.dialect)
			analyze := map[Dialect]string{Postgres: "VACUUM ANALYZE ", MySQL: "ANALYZE TABLE ", SQLite: "ANALYZE "}[stand.dialect] + store.table.SQL()
			neverAnalyze(t, store)
			if analyzed == "when empty" {
				run(t, store.db.DB, analyze)
			}
			load(t, store, plannedRows(stand.dialect))
			if analyzed == "when full" {
				run(t, store.db.DB, analyze)
			}
			var ids []string
			for i := range 50 {
				ids = append(ids, fmt.Sprintf("00000000-0000-7000-8000-%012x", 100*i+1))
			}
			for name, statement := range planStatements(store, ids) {
				checkPlan(t, store, name, statement, "analyzed "+analyzed)
			}
		}
	})
}

// TestPlansOfManyIDs has a small table with no statistics, of which a large part is
// named.
func TestPlansOfManyIDs(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		neverAnalyze(t, store)
		load(t, store, 700)
		var ids []string
		for i := range listed {
			ids = append(ids, fmt.Sprintf("00000000-0000-7000-8000-%012x", i+1))
		}
		statements := planStatements(store, ids)
		for _, name := range []string{"list ids", "list ids pending", "list ids of a topic", "count ids"} {
			checkPlan(t, store, name, statements[name], "many IDs")
		}
	})
}

// TestCountPlans shows what counting reads: an index where there is one, which
// for dead rows is small.
func TestCountPlans(t *testing.T) {
	pending, dead := outbox.Pending, outbox.Dead
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		load(t, store, plannedRows(stand.dialect))
		explain := "EXPLAIN"
		switch stand.dialect {
		case Postgres:
			run(t, store.db.DB, "VACUUM ANALYZE "+store.table.SQL())
		case SQLite:
			explain = "EXPLAIN QUERY PLAN"
		}
		for _, c := range []struct {
			name      string
			selection outbox.Selection
			want      map[Dialect]string
		}{
			{"all", outbox.Selection{All: true}, map[Dialect]string{
				Postgres: `Index Only Scan`, MySQL: `Using index$`, SQLite: `COVERING INDEX`,
			}},
			{"pending", outbox.Selection{All: true, State: &pending}, map[Dialect]string{
				Postgres: `Index Only Scan using "?\w+_due`, MySQL: `key=\w+_due .*Using index$`, SQLite: `COVERING INDEX \w+_due`,
			}},
			{"dead", outbox.Selection{All: true, State: &dead}, map[Dialect]string{
				Postgres: `Scan using "?\w+_dead`, MySQL: `key=\w+_due .*Using index$`, SQLite: `COVERING INDEX \w+_dead`,
			}},
			{"dead of a topic", outbox.Selection{Topic: "orders", State: &dead}, map[Dialect]string{
				Postgres: `Scan using "?\w+_dead`, MySQL: `key=\w+_topic .*Using index$`, SQLite: `INDEX \w+_dead`,
			}},
			{"pending of a topic", outbox.Selection{Topic: "orders", State: &pending}, map[Dialect]string{
				Postgres: `Index Only Scan using "?\w+_topic`, MySQL: `key=\w+_topic .*Using index$`, SQLite: `COVERING INDEX \w+_topic \(topic=\?\)`,
			}},
			{"a topic", outbox.Selection{Topic: "orders"}, map[Dialect]string{
				Postgres: `Index Only Scan using "?\w+_topic`, MySQL: `key=\w+_topic .*Using index\n`, SQLite: `COVERING INDEX \w+_topic \(topic=\?\)`,
			}},
		} {
			v := store.dialect.querying()
			text := store.countManyText(v, c.selection.Topic, c.selection.State)
			assert.Regexp(t, c.want[stand.dialect], explained(t, store, store.db.DB, explain, text, v.args...), c.name)
		}
	})
}

// TestKeyPlans shows that keys are looked up in their index.
func TestKeyPlans(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		load(t, store, plannedRows(stand.dialect))
		explain := "EXPLAIN"
		switch stand.dialect {
		case Postgres:
			run(t, store.db.DB, "VACUUM ANALYZE "+store.table.SQL())
		case SQLite:
			explain = "EXPLAIN QUERY PLAN"
		}
		require.NoError(t, store.Insert(t.Context(), 0, keyed(t, "a"), keyed(t, "b")))
		for name, text := range map[string]func(v *values) string{
			"present": func(v *values) string { return store.presentText(v, "dedup_key", []string{"a", "b", "c"}) },
			"find":    func(v *values) string { return store.findText(v, "dedup_key", "a", "") },
			"holders": func(v *values) string { return store.holdersText(v, "a") },
		} {
			v := stand.dialect.querying()
			plan := explained(t, store, store.db.DB, explain, text(v), v.args...)
			assert.Contains(t, plan, store.table.key(), name)
			assert.NotContains(t, plan, "Seq Scan", name)
			assert.NotContains(t, plan, "type=ALL", name)
		}
	})
}

// TestRareTopicIsFoundInItsIndex shows that a page of a topic with few rows does
// not read the table, where the planner knows of them.
func TestRareTopicIsFoundInItsIndex(t *testing.T) {
	pending := outbox.Pending
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		load(t, store, plannedRows(stand.dialect))
		if stand.dialect == Postgres {
			run(t, store.db.DB, "VACUUM ANALYZE "+store.table.SQL())
		}
		queries := []outbox.Query{{Topic: "rare", State: &pending, Limit: 100}}
		if stand.dialect == MySQL {
			queries = append(queries, outbox.Query{Topic: "rare", Limit: 100})
		}
		for _, query := range queries {
			text, args := store.listQuery(query)
			assert.Contains(t, explained(t, store, store.db.DB, "EXPLAIN", text, args...), store.table.topic())
		}
	})
}

func checkPlan(t *testing.T, store *Store, name string, statement planned, when string) {
	t.Helper()
	due := strings.HasPrefix(name, "due") || name == "next" || name == "claim" || name == "oldest topics"
	byTopic := strings.HasPrefix(name, "topics") || strings.HasPrefix(name, "rows of")
	switch store.dialect {
	case Postgres:
		plan := explained(t, store, store.db.DB, "EXPLAIN", statement.text, statement.args...)
		assert.NotContains(t, plan, "Seq Scan", "%s, %s: %s", name, when, plan)
		if due {
			assert.Regexp(t, `Index (Only )?Scan using "?\w+_due`, plan, "%s, %s", name, when)
		}
		if byTopic {
			assert.Regexp(t, `Index (Only )?Scan using "?\w+_topic`, plan, "%s, %s", name, when)
			assert.NotContains(t, plan, store.table.due(), "%s, %s: %s", name, when, plan)
			assert.NotContains(t, plan, `Bitmap Index Scan on "`+store.table.topic(), "%s, %s: %s", name, when, plan)
		}
		if due && name != "claim" && name != "oldest topics" || name == "list" || name == "list pending" {
			assert.NotContains(t, plan, "Sort", "%s, %s: %s", name, when, plan)
		}
	case SQLite:
		plan := explained(t, store, store.db.DB, "EXPLAIN QUERY PLAN", statement.text, statement.args...)
		if name != "oldest topics" {
			assert.NotContains(t, plan, "TEMP B-TREE", "%s, %s: %s", name, when, plan)
		}
		want := "SEARCH"
		if name == "next" {
			want = "USING COVERING INDEX " + store.table.due()
		} else if due {
			want = "USING INDEX " + store.table.due() + " (due_at<?)"
		} else if byTopic {
			want = "INDEX " + store.table.topic() + " (topic"
		}
		if strings.HasPrefix(name, "rows of") {
			assert.Contains(t, plan, store.table.topic()+" (topic=? AND due_at<?)", "%s, %s", name, when)
			assert.Contains(t, plan, "SEARCH taken USING", "%s, %s", name, when)
		}
		assert.Contains(t, plan, want, "%s, %s", name, when)
		assert.NotContains(t, strings.ReplaceAll(plan, "SCAN "+store.table.Name+" USING COVERING INDEX", ""), "SCAN "+store.table.Name,
			"%s, %s: %s", name, when, plan)
	case MySQL:
		plan := explained(t, store, store.db.DB, "EXPLAIN", statement.text, statement.args...)
		want := "key=PRIMARY"
		if due || name == "list dead" || name == "trial" || name == "expired" {
			want = "key=" + store.table.due()
		} else if byTopic {
			want = "key=" + store.table.topic()
			assert.NotContains(t, plan, "key="+store.table.due(), "%s, %s", name, when)
			assert.NotContains(t, plan, "key=PRIMARY", "%s, %s", name, when)
		}
		assert.Contains(t, plan, want, "%s, %s", name, when)
		if name == "trial" {
			assert.Contains(t, plan, "rows=1 ", "%s, %s", name, when)
		} else if name != "oldest topics" {
			assert.NotContains(t, plan, "filesort", "%s, %s: %s", name, when, plan)
		}
		for line := range strings.SplitSeq(plan, "\n") {
			if !strings.Contains(line, "derived") && !strings.Contains(line, "table=made") && !strings.Contains(line, "<union") {
				assert.NotContains(t, line, "type=ALL", "%s, %s: %s", name, when, plan)
			}
		}
	}
}

// TestPreparedPlans shows that what pgx prepares is planned anew for the table
// as it is, and that there are few such statements, however much is done.
func TestPreparedPlans(t *testing.T) {
	db := stands[0].open(t)
	db.SetMaxOpenConns(1)
	store := opened(t, db, Postgres, WithMaxRecords(50), WithMaxBytes(1<<30))
	neverAnalyze(t, store)
	run(t, db, "VACUUM ANALYZE "+store.table.SQL())
	ctx := t.Context()
	for range 20 {
		_, _, err := store.Next(ctx)
		require.NoError(t, err)
		records := claimed(t, store, 10)
		_, err = store.Delete(ctx, idsOf(records)...)
		require.NoError(t, err)
		require.NoError(t, store.Insert(ctx, 0, messages(t, 50-len(stored(t, store)))...))
		require.ErrorIs(t, store.Insert(ctx, 0, message(t)), outbox.ErrFull)
		_, err = store.Retry(ctx, outbox.Selection{Topic: "orders"})
		require.NoError(t, err)
	}
	statements, executions := 0, 0
	require.NoError(t, each(ctx, db, `SELECT statement, custom_plans, generic_plans FROM pg_prepared_statements
WHERE statement LIKE '%due_at%' OR statement LIKE '%SELECT id%'`, nil, func(scan func(...any) error) error {
		var text string
		var own, fixed int
		require.NoError(t, scan(&text, &own, &fixed))
		if strings.HasPrefix(text, "INSERT") || strings.Contains(text, "pg_prepared_statements") {
			return nil // an insert has no plan to choose
		}
		statements++
		executions += own
		assert.Zero(t, fixed, "executions of a plan that was not made for them: %s", text)
		return nil
	}))
	assert.Greater(t, executions, 100)
	assert.LessOrEqual(t, statements, 10)
}

// buffersOf returns how many buffers PostgreSQL looks at for a statement.
func buffersOf(tb testing.TB, store *Store, query string, args []any) float64 {
	tb.Helper()
	tx, err := store.db.BeginTx(tb.Context(), nil)
	require.NoError(tb, err)
	plan := explained(tb, store, tx, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)", query, args...)
	require.NoError(tb, tx.Rollback())
	var parsed []struct {
		Plan struct {
			Hit  float64 `json:"Shared Hit Blocks"`
			Read float64 `json:"Shared Read Blocks"`
		}
	}
	require.NoError(tb, json.Unmarshal([]byte(strings.TrimPrefix(plan, "QUERY PLAN=")), &parsed))
	return parsed[0].Plan.Hit + parsed[0].Plan.Read
}

// handlerReads returns how many rows InnoDB was asked for since FLUSH STATUS.
func handlerReads(tb testing.TB, db runner) int {
	tb.Helper()
	sum := 0
	require.NoError(tb, each(context.Background(), db, "SHOW SESSION STATUS LIKE 'Handler_read%'", nil, func(scan func(...any) error) error {
		var name string
		var n int
		err := scan(&name, &n)
		sum += n
		return err
	}))
	return sum
}

// TestClaimReadsWhatItClaims measures what PostgreSQL reads for a claim, with
// a thousand rows waiting and with fifty thousand.
func TestClaimReadsWhatItClaims(t *testing.T) {
	var buffers []float64
	for _, rows := range []int{1000, 50_000} {
		store := opened(t, stands[0].open(t), Postgres)
		load(t, store, rows)
		query, args := store.claimQuery(outbox.ClaimOptions{Limit: 100, Lease: time.Hour}, "token")
		buffers = append(buffers, buffersOf(t, store, query, args))
	}
	assert.Greater(t, buffers[0], 100.0)
	assert.Less(t, buffers[1], 1.5*buffers[0], "buffers that were looked at, with 1000 and with 50000 rows")
}

// TestClaimReadsWhatItClaimsInMariaDB does the same by the rows that InnoDB's
// handler was asked for.
func TestClaimReadsWhatItClaimsInMariaDB(t *testing.T) {
	var reads []int
	for _, rows := range []int{1000, 50_000} {
		db := stands[1].open(t)
		db.SetMaxOpenConns(1)
		store := opened(t, db, MySQL)
		load(t, store, rows)
		run(t, db, "FLUSH STATUS")
		require.Len(t, claimed(t, store, 100), 100)
		_, _, err := store.Next(t.Context())
		require.NoError(t, err)
		reads = append(reads, handlerReads(t, db))
	}
	assert.GreaterOrEqual(t, reads[0], 300)
	assert.Less(t, reads[0], 700, "each row is found, locked, changed and read, by a list of IDs")
	assert.Less(t, reads[1], reads[0]+20, "rows that were looked at, with 1000 and with 50000 rows")
}

// loadHalfLeased fills a table with rows of ten topics, all of which are leased in
// the first five.
func loadHalfLeased(tb testing.TB, store *Store, rows int) {
	tb.Helper()
	loadTopics(tb, store, rows, 10, -time.Hour)
	run(tb, store.db.DB, fmt.Sprintf("UPDATE %s SET due_at = due_at + %d WHERE topic < 'orders00005'", store.table.SQL(), (2*time.Hour).Microseconds()))
}

// TestClaimByTopicReadsWhatItClaims does the same for a claim of 100 rows by
// topic. A topic whose rows are leased costs a probe of the index, however many
// those are.
func TestClaimByTopicReadsWhatItClaims(t *testing.T) {
	options := outbox.ClaimOptions{Limit: 100, PerTopic: 40, Lease: time.Hour}
	var topics []topicwalk.Topic
	for i := range 10 {
		topics = append(topics, topicwalk.Topic{Name: fmt.Sprintf("orders%05d", i), Due: 1})
	}
	var pages, takes []float64
	for _, rows := range []int{1000, 50_000} {
		store := opened(t, stands[0].open(t), Postgres)
		loadHalfLeased(t, store, rows)
		run(t, store.db.DB, "VACUUM "+store.table.SQL())
		query, args := store.pageQuery("", "", 100)
		pages = append(pages, buffersOf(t, store, query, args))
		query, args = store.takeQuery(topics, options, true, "token")
		takes = append(takes, buffersOf(t, store, query, args))
	}
	assert.Less(t, pages[1], pages[0]+25, "buffers for ten topics: %v", pages)
	assert.Less(t, pages[1], 60.0)
	assert.Greater(t, takes[0], 100.0)
	assert.Less(t, takes[1], 2*takes[0], "buffers for the rows, though the indexes are a level deeper: %v", takes)
}

// TestClaimByTopicReadsWhatItClaimsInMariaDB does so by the rows that InnoDB's
// handler was asked for. A page of topics is of [pageRows] rows of the index.
func TestClaimByTopicReadsWhatItClaimsInMariaDB(t *testing.T) {
	var reads []int
	for _, rows := range []int{5000, 50_000} {
		db := stands[1].open(t)
		db.SetMaxOpenConns(1)
		store := opened(t, db, MySQL)
		loadHalfLeased(t, store, rows)
		run(t, db, "FLUSH STATUS")
		claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 100, PerTopic: 40, Lease: time.Hour, AfterTopic: "orders00003"})
		require.NoError(t, err)
		require.Len(t, claimed, 100)
		reads = append(reads, handlerReads(t, db))
	}
	assert.GreaterOrEqual(t, reads[0], 300+4*pageRows, "a page of a leased topic, three of others")
	assert.Less(t, reads[0], 700+4*pageRows)
	assert.Less(t, reads[1], reads[0]+20, "rows that were looked at, with 5000 and with 50000 rows")
}
