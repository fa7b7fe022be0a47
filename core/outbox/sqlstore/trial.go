package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// A trial shows that statements have the effect that the store needs; settings of
// the session and the server, row-level security and triggers may change it without
// an error. It stores a trial record, and claims, reschedules and deletes it.
//
// All steps but the last are one transaction, which is rolled back. The last step
// commits the record until it is found from a second connection and deleted. No
// claim takes it in the meantime: it has a token and is due later than any other
// record, by which counts and lists recognize it.
// list records know it.

// trialDue is the beginning of the year 2200. Records are due within latest from
// now. Older releases wait until a trial is due, which must not exceed the 292 years
// of a time.Duration.
const trialDue int64 = 7_258_118_400_000_000

// trialID is the prefix of the IDs of trials.
const trialID = "postoffice-trial-"

// notTrial returns a condition that leaves out trials and remembered keys.
func (d Dialect) notTrial() string { return d.filter(fmt.Sprintf("due_at < %d", trialDue)) }

// trialRow returns a condition for trial rows that uses the index for claims.
func (d Dialect) trialRow() string {
	return fmt.Sprintf("%s AND due_at >= %d AND due_at < %d", d.pending(), trialDue, keptDue)
}

// trialText returns the query that finds and locks a trial row as Claim does with a
// due one.
func (s *Store) trialText(what, id string, v *values) string {
	return s.dueText(what, fmt.Sprintf("due_at >= %d AND id = %s", trialDue, v.text(id)), 1, 0, v)
}

// checkSession finds settings that keep the store from working.
func (s *Store) checkSession(ctx context.Context) (sqltable.Session, error) {
	var session sqltable.Session
	err := s.db.Use(ctx, func(conn *sql.Conn) (err error) {
		if session, err = s.table.Session(ctx, conn, listed); err == nil {
			err = session.Fault(true)
		}
		return err
	})
	return session, err
}

// try runs a trial on connections of the pool, and removes trials that killed
// processes have left.
func (s *Store) try(ctx context.Context) error {
	left, err := s.trialsLeft(ctx)
	if err != nil {
		return err
	}
	conn, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // fails only where it is closed
	err = s.rehearse(ctx, conn)
	if s.db.Shed(ctx, conn, err) {
		return err
	}
	if undone := rollback(ctx, conn); err == nil {
		err = undone
	}
	if err != nil {
		return err
	}
	if err := s.tryCommit(ctx, conn); err != nil {
		return err
	}
	// Trials that were in progress at the beginning have ended by now.
	_, err = s.removeTrials(ctx, conn, left)
	return err
}

// trialsLeft returns the IDs of trials in the table.
func (s *Store) trialsLeft(ctx context.Context) ([]string, error) {
	var ids []string
	query := fmt.Sprintf("SELECT id FROM %s WHERE %s ORDER BY due_at, id LIMIT %d", s.table.using(s.table.due()), s.dialect.trialRow(), listed)
	err := each(ctx, s.db, query, nil, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		if strings.HasPrefix(id, trialID) {
			ids = append(ids, id)
		}
		return err
	})
	return ids, err
}

// removeTrials deletes trial rows.
func (s *Store) removeTrials(ctx context.Context, db runner, ids []string) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	filter := func(*values) string { return fmt.Sprintf(" AND due_at >= %d", trialDue) }
	return change(ctx, db, s.deleteText(ids, filter))
}

// trialRecord returns a record for a trial.
func trialRecord() outbox.Record {
	return outbox.Record{
		ID: trialID + rand.Text(), Topic: "postoffice-trial", LeaseToken: rand.Text(),
		Payload: []byte(`{"trial":"\u2713"}`), Attributes: []byte(`{}`), LastError: "trial \u2713 \U0001f4ee",
	}
}

// rehearse runs a trial in a transaction.
func (s *Store) rehearse(ctx context.Context, tx *sql.Conn) error {
	record := trialRecord()
	if err := s.insertTrial(ctx, tx, record); err != nil {
		return err
	}
	claimed, err := s.claimTrial(ctx, tx, record.ID)
	switch {
	case err != nil:
		return fmt.Errorf("claiming a trial record: %w", err)
	case len(claimed) != 1:
		return sqltable.TrialError("that was inserted cannot be claimed")
	}
	got := claimed[0]
	if got.ID != record.ID || got.Topic != record.Topic || string(got.Payload) != string(record.Payload) ||
		string(got.Attributes) != string(record.Attributes) || got.Attempts != 1 || got.LeaseToken == "" || got.LeaseToken == record.LeaseToken {
		return sqltable.TrialError("is read differently from how it was stored")
	}
	n, err := change(ctx, tx, s.rescheduleText([]outbox.Change{
		{ID: got.ID, LeaseToken: got.LeaseToken, After: time.Duration(math.MaxInt64), LastError: record.LastError},
	}))
	switch {
	case err != nil:
		return fmt.Errorf("rescheduling a trial record: %w", err)
	case n != 1:
		return sqltable.TrialError("that was claimed cannot be rescheduled")
	}
	n, err = change(ctx, tx, s.deleteText([]string{got.ID}, func(*values) string { return "" }))
	switch {
	case err != nil:
		return fmt.Errorf("deleting a trial record: %w", err)
	case n != 1:
		return sqltable.TrialError("that was rescheduled cannot be deleted")
	}
	return nil
}

func (s *Store) insertTrial(ctx context.Context, conn *sql.Conn, record outbox.Record) error {
	query, args := s.insertStatement(trialDue, []outbox.Record{record})
	result, err := conn.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("inserting a trial record: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(sqltable.TrialError("is not stored by an insert that succeeds"), err)
	}
	return nil
}

// claimTrial claims a row by its ID as Claim does with a due one.
func (s *Store) claimTrial(ctx context.Context, tx *sql.Conn, id string) (claimed []outbox.Record, err error) {
	token := rand.Text()
	switch s.dialect {
	case Postgres:
		v := s.dialect.querying()
		query := s.claimText(v, s.trialText("id, due_at, size, 0 AS place", id, v), "", 0, true, trialDue, token)
		err = each(ctx, tx, query, v.args, scanRecords(&claimed))
	case MySQL:
		var found string
		query := s.trialText("id", id, s.dialect.literals())
		if _, err = first(ctx, tx, query, nil, &found); err == nil && found != "" {
			claimed, err = s.leaseLocked(ctx, tx, []string{found}, fmt.Sprintf("outbox.due_at >= %d", trialDue), trialDue, token)
		}
	default:
		query := s.leaseText([]string{id}, fmt.Sprintf("due_at >= %d", trialDue), trialDue, token)
		err = each(ctx, tx, query, nil, scanRecords(&claimed))
	}
	return claimed, err
}

// trialAttempts is how often a trial record may disappear before it is found:
// another Check may remove it as left by a killed process.
const trialAttempts = 10

// tryCommit inserts a record on a connection outside a transaction, and finds and
// deletes it on another. If the pool has no other, one connection does both.
func (s *Store) tryCommit(ctx context.Context, conn *sql.Conn) error {
	second, err := sqltable.Another(ctx, s.db.DB)
	switch {
	case err != nil:
		return err
	case second == nil:
		second = conn
	default:
		defer func() { _ = second.Close() }() // fails only where it is closed
	}
	for attempt := 1; ; attempt++ {
		record := trialRecord()
		err := s.insertTrial(ctx, conn, record)
		if err == nil {
			err = s.findTrial(ctx, second, record.ID)
			s.db.Shed(ctx, second, err)
		}
		if err == nil {
			return nil
		}
		if _, gone := errors.AsType[sqltable.TrialError](err); !gone || attempt == trialAttempts {
			s.abandonTrial(ctx, conn, record.ID)
			return err
		}
		// It may exist and be locked briefly by another Check.
		err = s.db.Retry(ctx, func() error {
			_, err := s.removeTrials(ctx, second, []string{record.ID})
			return err
		})
		if err != nil {
			return fmt.Errorf("deleting a trial record: %w", err)
		}
	}
}

// findTrial finds and deletes a row that was inserted on another connection.
func (s *Store) findTrial(ctx context.Context, second *sql.Conn, id string) error {
	v := s.dialect.querying()
	// Proxies send plain queries to replicas, and locking ones to the primary.
	query := s.trialText("id", id, v)
	found, err := first(ctx, second, query, v.args, &id)
	switch {
	case err != nil:
		return fmt.Errorf("looking for a trial record: %w", err)
	case !found:
		return sqltable.TrialError("that was inserted on one connection is not there on another")
	}
	n, err := s.removeTrials(ctx, second, []string{id})
	switch {
	case err != nil:
		return fmt.Errorf("deleting a trial record: %w", err)
	case n != 1:
		return sqltable.TrialError("that was inserted cannot be deleted")
	}
	return nil
}

// abandonTrial undoes the inserts of a connection, committed or not, and discards
// the connection.
func (s *Store) abandonTrial(ctx context.Context, conn *sql.Conn, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	// If this fails, the next trial cleans up.
	_, _ = conn.ExecContext(ctx, "ROLLBACK") // of what is not committed
	_, _ = s.removeTrials(ctx, conn, []string{id})
	if s.dialect != SQLite { // a file may be attached to the connection, or live in its memory
		_, _ = conn.ExecContext(ctx, "COMMIT")
		discard(conn)
	}
}
