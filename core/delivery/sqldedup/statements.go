package sqldedup

import (
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// DefaultTable is the default name of the table.
const DefaultTable = "postoffice_handled"

// parseTable parses NAME or SCHEMA.NAME.
func parseTable(dialect sqlstore.Dialect, name string) (sqltable.Table, error) {
	if err := sqltable.Dialect(dialect).Validate(ErrInvalid); err != nil {
		return sqltable.Table{}, err
	}
	t, err := sqltable.Parse(sqltable.Dialect(dialect), name, ErrInvalid)
	if err != nil {
		return sqltable.Table{}, fmt.Errorf("%w: table is %.200q; it must be NAME or SCHEMA.NAME, each of at most %d letters, digits and underscores",
			ErrInvalid, name, sqltable.MaxName)
	}
	return t, nil
}

// statements creates the statements for a table. All values in them are numbers or
// hexadecimal text, so they are literals: each statement is one round trip with any
// driver, and works with any pooler.
type statements struct {
	dialect sqltable.Dialect
	table   string // quoted
	now     string // the database's clock, in microseconds since 1970
}

func newStatements(t sqltable.Table) statements {
	return statements{dialect: t.Dialect, table: t.SQL(), now: t.Now("clock_timestamp()")}
}

// in returns an expression for the time after a duration.
func (s statements) in(d time.Duration) string {
	return fmt.Sprintf("%s + %d", s.now, d.Microseconds())
}

// insert begins an unknown message, and changes nothing otherwise.
func (s statements) insert(id, token string, lease time.Duration) string {
	verb, end := "INSERT", " ON CONFLICT (id) DO NOTHING"
	if s.dialect == sqltable.MySQL {
		verb, end = "INSERT IGNORE", ""
	}
	return fmt.Sprintf("%s INTO %s (id, token, done, ends_at) VALUES ('%s', '%s', 0, %s)%s",
		verb, s.table, id, token, s.in(lease), end)
}

// read returns who holds a message, whether it is done, and whether its time has
// ended.
func (s statements) read(id string) string {
	return fmt.Sprintf("SELECT token, done, CASE WHEN ends_at <= %s THEN 1 ELSE 0 END FROM %s WHERE id = '%s'", s.now, s.table, id)
}

// takeOver begins a message whose time has ended, unless another call has.
func (s statements) takeOver(id, holder, token string, lease time.Duration) string {
	return fmt.Sprintf("UPDATE %s SET token = '%s', done = 0, ends_at = %s WHERE id = '%s' AND token = '%s' AND ends_at <= %s",
		s.table, token, s.in(lease), id, holder, s.now)
}

func (s statements) done(id, token string, keep time.Duration) string {
	return fmt.Sprintf("UPDATE %s SET done = 1, ends_at = %s WHERE id = '%s' AND token = '%s'", s.table, s.in(keep), id, token)
}

func (s statements) abort(id, token string) string {
	return fmt.Sprintf("DELETE FROM %s WHERE id = '%s' AND token = '%s' AND done = 0", s.table, id, token)
}

// remember keeps the latest version of a key.
func (s statements) remember(id string, version int64, keep time.Duration) string {
	again := "ON CONFLICT (id) DO UPDATE SET"
	if s.dialect == sqltable.MySQL {
		again = "ON DUPLICATE KEY UPDATE"
	}
	return fmt.Sprintf("INSERT INTO %[1]s (id, token, done, ends_at) VALUES ('%[2]s', '%[3]d', 1, %[4]s) %[5]s token = '%[3]d', done = 1, ends_at = %[4]s",
		s.table, id, version, s.in(keep), again)
}

// remove removes a row, done or not.
func (s statements) remove(id, token string) string {
	return fmt.Sprintf("DELETE FROM %s WHERE id = '%s' AND token = '%s'", s.table, id, token)
}

// prune removes some of the rows whose time has ended.
func (s statements) prune() string {
	switch s.dialect {
	case sqltable.MySQL:
		return fmt.Sprintf("DELETE FROM %s WHERE ends_at <= %s ORDER BY ends_at LIMIT %d", s.table, s.now, pruneBatch)
	case sqltable.Postgres:
		// The clock is read once, so that the index can be searched by it.
		return fmt.Sprintf(`DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE ends_at <= (SELECT %[2]s)
ORDER BY ends_at LIMIT %[3]d FOR UPDATE SKIP LOCKED)`, s.table, s.now, pruneBatch)
	default:
		return fmt.Sprintf("DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE ends_at <= %[2]s ORDER BY ends_at LIMIT %[3]d)",
			s.table, s.now, pruneBatch)
	}
}
