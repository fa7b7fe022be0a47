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
}

// hasKey tells whether a record has a key.
func hasKey(record outbox.Record) bool { return record.DedupKey != "" }

// Insert stores all records or none. A delay below zero counts as zero. A
// record that is Dead is held by nobody and has no DueAt.
//
// One record is one statement. Many are one statement for each 256 records or
// 4 MB, less where MySQL's max_allowed_packet is less than 8 MB; several of them
// are one transaction. A record with a DedupKey is one of its own, after a look
// at who holds the key. A record that is too large for a statement alone is
// [outbox.ErrInvalid].
//
// When the connection fails or the context ends while the database commits,
// the records may be kept although an error is returned; the insert can be
// repeated.
func (s *Store) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	_, err := s.insertCounted(ctx, delay, records)
	return err
}

// insertCounted stores all records or none, and returns how many were not left out.
func (s *Store) insertCounted(ctx context.Context, delay time.Duration, records []outbox.Record) (inserted int, err error) {
	if err := s.validate(records); err != nil {
		return 0, err
	}
	if len(records) == 0 {
		return 0, s.do(ctx, "insert", func() error { return nil })
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
		return 0, err
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

// insert stores all records or none, and returns how many were not there yet.
// Statements that turn out to be too large are made smaller.
func (s *Store) insert(ctx context.Context, delay time.Duration, records []outbox.Record) (inserted int, err error) {
	if slices.ContainsFunc(records, foreign) {
		s.learnEncoding(ctx)
	}
	s.knowPacket(ctx, records)
	for {
		if err := s.refuseOversized(ctx, records); err != nil {
			return 0, err
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
			return 0, err
		}
	}
}

// insertStatements inserts records in statements of so many bytes each, which
// are one transaction.
func (s *Store) insertStatements(ctx context.Context, delay time.Duration, records []outbox.Record, limit int64) (int, error) {
	if fits(records, limit) {
		// A statement alone is a transaction.
		return s.insertChunks(ctx, inserter{s.execer(nil), s.held(s.db)}, delay, records, limit)
	}
	inserted := 0
	err := s.transact(ctx, func(tx *sql.Conn) error {
		var err error
		inserted, err = s.insertChunks(ctx, inserter{s.execer(tx), s.held(tx)}, delay, records, limit)
		return err
	})
	return inserted, err
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

// insertChunks inserts records in as many statements as it takes, and returns
// how many were not there yet.
func (s *Store) insertChunks(ctx context.Context, in inserter, delay time.Duration, records []outbox.Record, limit int64) (int, error) {
	inserted := 0
	for len(records) > 0 {
		n := chunk(records, limit)
		if hasKey(records[0]) {
			held, err := in.held(ctx, records[0].DedupKey)
			if err != nil {
				return 0, err
			}
			if held {
				records = records[n:]
				continue
			}
		}
		query, args := s.insertStatement(micros(delay), records[:n])
		result, err := in.exec(ctx, query, args...)
		if err != nil {
			return 0, s.refused(err, records[:n])
		}
		fresh, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		inserted += int(fresh)
		records = records[n:]
	}
	return inserted, nil
}

// insertStatement returns the statement that inserts up to insertRows records,
// which are due after so many microseconds.
// The number of its rows is a power of two, so that there are few different
// statements to be prepared. Rows that fill up repeat the last ID, so they are
// left out like any record that is there already.
func (s *Store) insertStatement(wait int64, records []outbox.Record) (string, []any) {
	rows := 1
	for rows < len(records) {
		rows *= 2
	}
	const perRow = 12
	args := make([]any, 0, rows*perRow)
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
		if hasKey(record) {
			return s.insertText(1, true), append(args, s.dialect.name(record.DedupKey))
		}
	}
	last := records[len(records)-1].ID
	for range rows - len(records) {
		args = append(args, s.dialect.name(last), int64(0), int64(0), int64(0), "", int64(0), nil, int64(0), "", "", []byte{}, []byte{})
	}
	return s.insertText(rows, false), args
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
