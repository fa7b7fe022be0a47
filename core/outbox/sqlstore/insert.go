package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// execer runs a statement with parameters.
type execer func(ctx context.Context, query string, args ...any) (sql.Result, error)

// inserter is where records are inserted.
type inserter struct {
	exec execer
	// held tells whether a row holds a key that the index of keys may not know
	// of. It is not called for records without a key.
	held func(ctx context.Context, key string) (bool, error)
	// ask is set where one statement inserts records of any keys, looks who holds
	// those, and returns the IDs of what it has inserted.
	ask runner
}

// hasKey tells whether a record has a key.
func hasKey(record outbox.Record) bool { return record.DedupKey != "" }

// Insert stores all records or none. A delay below zero counts as zero. A
// record that is Dead is held by nobody and has no DueAt.
//
// One record is one statement. Many are one statement for each 256 records or
// 4 MB, less where MySQL's max_allowed_packet is less than 8 MB; several of them
// are one transaction. On other databases than PostgreSQL, a record with a DedupKey
// is one of its own, after a look at who holds the key. A record that is too large for a statement alone is
// [outbox.ErrInvalid].
//
// When the connection fails or the context ends while the database commits,
// the records may be kept although an error is returned; the insert can be
// repeated.
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	_, err := s.insertAll(ctx, delay, records)
	return err
}

// insertAll stores all records or none, and returns the IDs of those that were not
// left out.
func (s *Store) insertAll(ctx context.Context, delay time.Duration, records []outbox.Record) (inserted []string, err error) {
	if err := s.validate(records); err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, s.do(ctx, "insert", func() error { return nil })
	}
	err = s.write(ctx, "insert", func() (err error) {
		if s.room == nil {
			inserted, err = s.insert(ctx, delay, records)
		} else {
			inserted, err = s.insertBounded(ctx, delay, records)
		}
		return err
	})
	if err == nil && s.dialect == Postgres {
		// A driver that has the server cancel the statement, such as lib/pq, ends the
		// wait for a synchronous standby by that, and is told that it has succeeded.
		err = s.wrap(ctx, "insert", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return inserted, nil
}

// InsertTx inserts records, due at once, in a transaction of the caller's on
// the same database: a *sql.Tx, or what [PgxTx] makes of a pgx.Tx. Only its
// ExecContext is called, and for records with a DedupKey its QueryContext, if
// it is not of PgxTx; one without it is [outbox.ErrInvalid] then. The
// transactions of libraries over database/sql fit if they pass statement and
// arguments on as they are. The Tx of github.com/uptrace/bun does not, and is
// [outbox.ErrInvalid]: pass its *sql.Tx, which is its field Tx.
//
// After an error roll the transaction back. PostgreSQL refuses every other
// statement of a transaction in which one has failed; and the other databases
// may have kept some of the records.
//
// Conflicts are not tried again here, because the database undoes the whole
// transaction, which only the caller can repeat.
func (s *Store) InsertTx(ctx context.Context, tx outbox.Tx, records ...outbox.Record) error {
	if err := checkTx(tx); err != nil {
		return err
	}
	if err := s.validate(records); err != nil {
		return err
	}
	in := inserter{exec: tx.ExecContext}
	if slices.ContainsFunc(records, hasKey) {
		ask, err := asks(tx)
		if err != nil {
			return err
		}
		in.held = s.heldTx(ask)
	}
	if s.closed.Load() {
		return outbox.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.askBeside(ctx, records)
	if err := s.refuseOversized(ctx, records); err != nil {
		return err
	}
	if s.room != nil {
		if err := s.reserveTx(ctx, records); err != nil {
			return err
		}
	}
	_, err := s.insertChunks(ctx, in, 0, records, s.statementLimit())
	return s.wrap(ctx, "insert in a transaction", err)
}

// maxTopic and maxToken are how many bytes the columns of MySQL hold; a server
// whose SQL mode is not strict would cut what is longer. An entry of an index of
// PostgreSQL has room for as much.
const (
	maxTopic = 1024
	maxToken = 255
)

// validate says what is wrong with records to insert.
func (s *Store) validate(records []outbox.Record) error {
	if err := outbox.ValidateRecords(records...); err != nil {
		return err
	}
	for i, record := range records {
		if n := len(record.Topic); n > maxTopic {
			return fmt.Errorf("%w: records[%d].Topic has %d bytes, more than %d", outbox.ErrInvalid, i, n, maxTopic)
		}
		if n := len(record.LeaseToken); n > maxToken {
			return fmt.Errorf("%w: records[%d].LeaseToken has %d bytes, more than %d", outbox.ErrInvalid, i, n, maxToken)
		}
	}
	return nil
}

// insert stores all records or none, and returns the IDs of those that were not left
// out. Statements that turn out to be too large are made smaller.
func (s *Store) insert(ctx context.Context, delay time.Duration, records []outbox.Record) (inserted []string, err error) {
	if slices.ContainsFunc(records, foreign) {
		s.learnEncoding(ctx)
	}
	s.knowPacket(ctx, records)
	for {
		if err := s.refuseOversized(ctx, records); err != nil {
			return nil, err
		}
		err := s.storable(func() error {
			inserted, err = s.insertStatements(ctx, delay, records, s.statementLimit())
			return err
		})
		if err == nil {
			return inserted, nil
		}
		if large, ok := errors.AsType[*sizeError](err); ok {
			s.packet.limit.Store(large.weight / 2)
		} else if failure := s.table.Classify(err); failure != sqltable.Other && failure != sqltable.Lost || !s.lowered(ctx, records) {
			return nil, err
		}
	}
}

// insertStatements inserts records in statements of so many bytes each, which
// are one transaction.
func (s *Store) insertStatements(ctx context.Context, delay time.Duration, records []outbox.Record, limit int64) (inserted []string, err error) {
	in := s.inserter(nil, s.db, records)
	if in.chunk(records, limit) == len(records) {
		// A statement alone is a transaction.
		return s.insertChunks(ctx, in, delay, records, limit)
	}
	err = s.transact(ctx, func(tx *sql.Conn) error {
		inserted, err = s.insertChunks(ctx, s.inserter(tx, tx, records), delay, records, limit)
		return err
	})
	return inserted, err
}

// inserter returns what inserts records, on a connection unless it is nil.
func (s *Store) inserter(conn *sql.Conn, db runner, records []outbox.Record) inserter {
	in := inserter{exec: s.execer(conn), held: s.held(db)}
	if s.dialect == Postgres && slices.ContainsFunc(records, hasKey) && !crossing(records) {
		in.ask = db
	}
	return in
}

// crossing tells whether the key of a record is the ID of one before it, which no
// statement that inserts both can see.
func crossing(records []outbox.Record) bool {
	ids := make(map[string]bool, len(records))
	for i := range records {
		if hasKey(records[i]) && ids[records[i].DedupKey] {
			return true
		}
		ids[records[i].ID] = true
	}
	return false
}

// execer returns what runs a statement, on a connection unless it is nil:
// prepared if the store prepares. On a connection, which is that of a
// transaction, preparing would cost more than it saves.
func (s *Store) execer(conn *sql.Conn) execer {
	return func(ctx context.Context, query string, args ...any) (sql.Result, error) {
		switch {
		case conn != nil:
			return conn.ExecContext(ctx, query, args...)
		case !s.prepare:
			return s.db.ExecContext(ctx, query, args...)
		}
		result, err := s.prepared.exec(ctx, s.db.DB, query, args...)
		if failure := s.table.Classify(err); failure == sqltable.Unfit || failure == sqltable.Lost {
			// The connection is still in the pool. This removes it, or another one.
			return s.db.ExecContext(ctx, query, args...)
		}
		return result, err
	}
}

// insertChunks inserts records in as many statements as it takes, and returns the
// IDs of those that were not left out.
func (s *Store) insertChunks(ctx context.Context, in inserter, delay time.Duration, records []outbox.Record, limit int64) (inserted []string, err error) {
	for len(records) > 0 {
		n := in.chunk(records, limit)
		if in.ask != nil {
			if inserted, err = s.insertKeyed(ctx, in.ask, delay, records[:n], inserted); err != nil {
				return nil, s.refused(err, records[:n])
			}
			records = records[n:]
			continue
		}
		if hasKey(records[0]) {
			held, err := in.held(ctx, records[0].DedupKey)
			if err != nil {
				return nil, err
			}
			if held {
				records = records[n:]
				continue
			}
		}
		query, args := s.insertStatement(micros(delay), records[:n])
		result, err := in.exec(ctx, query, args...)
		if err != nil {
			return nil, s.refused(err, records[:n])
		}
		fresh, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		for i := range min(int(fresh), n) { // it is all of them, unless an insert is repeated
			inserted = append(inserted, records[i].ID)
		}
		records = records[n:]
	}
	return inserted, nil
}

// insertKeyed inserts records in one statement of PostgreSQL, and adds the IDs of
// those that were not left out. It locks keys in one order, so that two statements
// do not lock each other out.
func (s *Store) insertKeyed(ctx context.Context, db runner, delay time.Duration, records []outbox.Record, inserted []string) ([]string, error) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b outbox.Record) int { return strings.Compare(a.DedupKey, b.DedupKey) })
	args := s.insertArgs(micros(delay), records, true)
	err := each(ctx, db, s.insertKeyedText(len(args)/keyedColumns), append(args, int64(0)), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		inserted = append(inserted, id)
		return err
	})
	return inserted, err
}

// insertKeyedText returns the text of the statement that inserts so many rows with
// or without keys. Each looks by itself for a row whose id is the key: a join might
// read the table. The last parameter is that of [values.planned].
func (s *Store) insertKeyedText(rows int) string {
	if text, ok := s.keyedTexts.Load(rows); ok {
		return text.(string)
	}
	const columns = "id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload, dedup_key"
	row := strings.ReplaceAll(`(CAST(? AS text), CAST(? AS smallint), CASE WHEN CAST(? AS bigint) = 0 THEN NOW + CAST(? AS bigint) ELSE 0 END, CAST(? AS text),
CAST(? AS integer), NOW, CAST(? AS bigint), CAST(? AS bigint), CAST(? AS text), CAST(? AS text), CAST(? AS bytea), CAST(? AS bytea), CAST(? AS text))`, "NOW", s.dialect.now())
	text := numbered("INSERT INTO " + s.table.SQL() + " (" + columns + ") SELECT " + columns + " FROM (VALUES " +
		row + strings.Repeat(", "+row, rows-1) + ") AS made (" + columns + ") WHERE (SELECT holder.id FROM " + s.table.SQL() + ` AS holder
WHERE holder.id = made.dedup_key COLLATE "C") IS NULL` + plannedParameter + " ON CONFLICT DO NOTHING RETURNING id")
	s.keyedTexts.Store(rows, text)
	return text
}

// keyedColumns is how many parameters a row with a key has.
const keyedColumns = 13

// insertStatement returns the statement that inserts up to insertRows records,
// which are due after so many microseconds.
// The number of its rows is a power of two, so that there are few different
// statements to be prepared. Rows that fill up repeat the last ID and its key, so
// they are left out like any record that is there already.
func (s *Store) insertStatement(wait int64, records []outbox.Record) (string, []any) {
	keyed := hasKey(records[0])
	args := s.insertArgs(wait, records, keyed)
	if keyed {
		return s.insertText(1, true), args
	}
	return s.insertText(len(args)/(keyedColumns-1), false), args
}

// insertArgs returns the arguments of rows, each with its key if keyed is set.
func (s *Store) insertArgs(wait int64, records []outbox.Record, keyed bool) []any {
	rows := 1
	for rows < len(records) {
		rows *= 2
	}
	args := make([]any, 0, rows*keyedColumns+1)
	for _, record := range records {
		var deliverAt any
		if !record.DeliverAt.IsZero() {
			// Rounded up, because consumers must not get the message before.
			deliverAt = record.DeliverAt.Add(time.Microsecond - 1).UnixMicro()
		}
		if record.State == outbox.Dead {
			record.LeaseToken = ""
		}
		args = append(args, s.dialect.name(record.ID), int64(record.State), int64(record.State), wait, s.dialect.name(record.LeaseToken), int64(record.Attempts), deliverAt,
			record.Size(), s.dialect.name(record.Topic), s.dialect.wordsArgument(s.words(record.LastError)), blob(record.Attributes), blob(record.Payload))
		if keyed {
			args = append(args, s.keyArgument(record))
		}
	}
	last := records[len(records)-1]
	for range rows - len(records) {
		args = append(args, s.dialect.name(last.ID), int64(0), int64(0), int64(0), "", int64(0), nil, int64(0), "", "", []byte{}, []byte{})
		if keyed {
			args = append(args, s.keyArgument(last))
		}
	}
	return args
}

// keyArgument is the argument for the key of a record.
func (s *Store) keyArgument(record outbox.Record) any {
	if !hasKey(record) {
		return nil
	}
	return s.dialect.name(record.DedupKey)
}

// insertText returns the text of the statement that inserts so many rows, with
// a key or without one.
func (s *Store) insertText(rows int, keyed bool) string {
	now, integer, key := s.dialect.now(), s.dialect.integer(), "NULL"
	if keyed {
		key = "?"
	}
	row := strings.NewReplacer("NOW", now, "INTEGER", integer, "WORDS", s.dialect.wordsParameter(), "KEY", key).Replace(
		`(?, ?, CASE WHEN CAST(? AS INTEGER) = 0 THEN NOW + CAST(? AS INTEGER) ELSE 0 END, ?, CAST(? AS INTEGER), NOW, CAST(? AS INTEGER), ?, ?, WORDS, ?, ?, KEY)`)
	var text strings.Builder
	text.WriteString("INSERT INTO " + s.table.SQL() +
		" (id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload, dedup_key) VALUES ")
	for i := range rows {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(row)
	}
	switch {
	case s.dialect == MySQL:
		// INSERT IGNORE would hide every other error too.
		text.WriteString(" ON DUPLICATE KEY UPDATE id = id")
	case keyed: // no database takes two indexes here
		text.WriteString(" ON CONFLICT DO NOTHING")
	default:
		text.WriteString(" ON CONFLICT (id) DO NOTHING")
	}
	if s.dialect != Postgres {
		return text.String()
	}
	return numbered(text.String())
}

// numbered replaces the question marks of a statement by $1, $2 and so on.
func numbered(query string) string {
	var text strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		text.WriteString(before)
		if !found {
			return text.String()
		}
		fmt.Fprintf(&text, "$%d", n)
		query = after
	}
}
