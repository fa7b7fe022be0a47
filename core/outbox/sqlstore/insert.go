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

// inserter is the place where records are inserted.
type inserter struct {
	exec execer
	// held reports whether a row holds a key that the index of keys may not cover.
	// It is not called for records without a key.
	held func(ctx context.Context, key string) (bool, error)
	// ask is set if one statement inserts records with any keys, looks up the
	// holders of the keys, and returns the IDs of the inserted records.
	ask runner
}

// hasKey reports whether a record has a key.
func hasKey(record outbox.Record) bool { return record.DedupKey != "" }

// Insert stores all records or none. A negative delay counts as zero. A Dead record
// has no holder and no DueAt.
//
// One record is one statement. Many records are one statement for each 256 records
// or 4 MB, or less if MySQL's max_allowed_packet is below 8 MB; several statements
// are one transaction. On databases other than PostgreSQL, a record with a DedupKey
// has a statement of its own, after a lookup of the key's holder. A record that is
// too large for a statement is [outbox.ErrInvalid].
//
// If the connection fails or the context ends during the commit, the records may be
// stored although Insert returns an error. The insert can be repeated.
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	_, err := s.insertAll(ctx, delay, records)
	return err
}

// insertAll stores all records or none, and returns the IDs of the new ones.
func (s *Store) insertAll(ctx context.Context, delay time.Duration, records []outbox.Record) (inserted []string, err error) {
	if err := s.validate(records); err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, s.do(ctx, "insert", func() error { return nil })
	}
	err = s.write(ctx, "insert", func() (err error) {
		if s.capacity == nil {
			inserted, err = s.insert(ctx, delay, records)
		} else {
			inserted, err = s.insertBounded(ctx, delay, records)
		}
		return err
	})
	if err == nil && s.dialect == Postgres {
		// A driver that asks the server to cancel the statement, such as lib/pq,
		// thereby ends the wait for a synchronous standby, and the server reports
		// success.
		err = s.wrap(ctx, "insert", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return inserted, nil
}

// InsertTx inserts records, due at once, in a transaction of the caller on the same
// database: a *sql.Tx, or a pgx.Tx wrapped by [PgxTx]. The store calls only its
// ExecContext and, for records with a DedupKey, its QueryContext. A transaction of
// PgxTx needs no QueryContext; any other without it is [outbox.ErrInvalid] for such
// records. Transactions of libraries over database/sql work if they pass on
// statement and arguments unchanged. The Tx of github.com/uptrace/bun does not, and
// is [outbox.ErrInvalid]: pass its *sql.Tx, the field Tx.
//
// After an error, roll the transaction back. PostgreSQL rejects every other
// statement in a transaction after a failure, and the other databases may have
// stored some of the records.
//
// InsertTx does not retry after conflicts, because the database undoes the whole
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
	if s.capacity != nil {
		if err := s.reserveTx(ctx, records); err != nil {
			return err
		}
	}
	_, err := s.insertChunks(ctx, in, 0, records, s.statementLimit())
	return s.wrap(ctx, "insert in a transaction", err)
}

// maxTopic and maxToken are the column lengths in bytes on MySQL. A server whose SQL
// mode is not strict would truncate longer values. An index entry of PostgreSQL has
// the same limit.
const (
	maxTopic = 1024
	maxToken = 255
)

// validate checks the records of an insert.
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

// insert stores all records or none, and returns the IDs of the new ones. It splits
// statements that turn out to be too large.
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

// insertStatements inserts records in one transaction, in statements of at most
// limit bytes each.
func (s *Store) insertStatements(ctx context.Context, delay time.Duration, records []outbox.Record, limit int64) (inserted []string, err error) {
	in := s.inserter(nil, s.db, records)
	if in.chunk(records, limit) == len(records) {
		// A single statement is a transaction by itself.
		return s.insertChunks(ctx, in, delay, records, limit)
	}
	err = s.transact(ctx, func(tx *sql.Conn) error {
		inserted, err = s.insertChunks(ctx, s.inserter(tx, tx, records), delay, records, limit)
		return err
	})
	return inserted, err
}

// inserter returns the inserter for records, on a connection unless it is nil.
func (s *Store) inserter(conn *sql.Conn, db runner, records []outbox.Record) inserter {
	in := inserter{exec: s.execer(conn), held: s.held(db)}
	if s.dialect == Postgres && slices.ContainsFunc(records, hasKey) && !crossing(records) {
		in.ask = db
	}
	return in
}

// crossing reports whether the key of a record is the ID of an earlier one, which a
// statement that inserts both cannot see.
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

// execer returns a function that runs a statement, on a connection unless it is nil,
// and prepared if the store prepares. On a connection, which belongs to a
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
			// Repeating the statement removes the unusable connection, or another one,
			// from the pool.
			return s.db.ExecContext(ctx, query, args...)
		}
		return result, err
	}
}

// insertChunks inserts records in as many statements as necessary, and returns the
// IDs of the new ones.
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
		added, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		for i := range min(int(added), n) { // all of them, unless an insert is repeated
			inserted = append(inserted, records[i].ID)
		}
		records = records[n:]
	}
	return inserted, nil
}

// insertKeyed inserts records in one statement of PostgreSQL and appends the IDs of
// the new ones. It locks keys in order, so that concurrent statements do not
// deadlock.
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

// insertKeyedText returns the statement that inserts rows with or without keys. Each
// row searches for a row whose id is its key by a subquery: a join might read the
// whole table. The last parameter is that of [values.planned].
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

// keyedColumns is the number of parameters of a row with a key.
const keyedColumns = 13

// insertStatement returns the statement that inserts up to insertRows records, due
// after wait microseconds. The number of rows is rounded up to a power of two, so
// that there are few different statements to prepare. Padding rows repeat the last
// ID and its key, so they are left out like any existing record.
func (s *Store) insertStatement(wait int64, records []outbox.Record) (string, []any) {
	keyed := hasKey(records[0])
	args := s.insertArgs(wait, records, keyed)
	if keyed {
		return s.insertText(1, true), args
	}
	return s.insertText(len(args)/(keyedColumns-1), false), args
}

// insertArgs returns the arguments of rows, with their keys if keyed is set.
func (s *Store) insertArgs(wait int64, records []outbox.Record, keyed bool) []any {
	rows := 1
	for rows < len(records) {
		rows *= 2
	}
	args := make([]any, 0, rows*keyedColumns+1)
	for _, record := range records {
		var deliverAt any
		if !record.DeliverAt.IsZero() {
			// Round up: consumers must not get the message earlier.
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

// keyArgument returns the argument for the key of a record.
func (s *Store) keyArgument(record outbox.Record) any {
	if !hasKey(record) {
		return nil
	}
	return s.dialect.name(record.DedupKey)
}

// insertText returns the statement that inserts rows, with or without keys.
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
		// INSERT IGNORE would also hide all other errors.
		text.WriteString(" ON DUPLICATE KEY UPDATE id = id")
	case keyed: // no database accepts two indexes here
		text.WriteString(" ON CONFLICT DO NOTHING")
	default:
		text.WriteString(" ON CONFLICT (id) DO NOTHING")
	}
	if s.dialect != Postgres {
		return text.String()
	}
	return numbered(text.String())
}

// numbered replaces the question marks of a statement with $1, $2 and so on.
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
