package sqldedup

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// DefaultTable is the name of the table where no option sets another.
const DefaultTable = "postoffice_handled"

// maxTableName leaves room for the end of the index's name in the 63 bytes
// that PostgreSQL keeps of a name.
const maxTableName = 58

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// table is the name of a table in parts.
type table struct {
	dialect sqlstore.Dialect
	// schema is empty if the connection decides.
	schema, name string
}

// parseTable reads NAME or SCHEMA.NAME.
func parseTable(dialect sqlstore.Dialect, name string) (table, error) {
	switch dialect {
	case sqlstore.Postgres, sqlstore.MySQL, sqlstore.SQLite:
	default:
		return table{}, fmt.Errorf("%w: dialect is %s; it must be Postgres, MySQL or SQLite", ErrInvalid, dialect)
	}
	t := table{dialect: dialect, name: name}
	parts := []string{name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		t.schema, t.name = schema, rest
		parts = []string{schema, rest}
	}
	for _, part := range parts {
		if !identifier.MatchString(part) || len(part) > maxTableName {
			return table{}, fmt.Errorf("%w: table is %.200q; it must be a name of at most %d letters, digits and underscores, or such a schema, a dot and a name",
				ErrInvalid, name, maxTableName)
		}
	}
	return t, nil
}

// quote quotes an identifier, which has no quotes in it.
func (t table) quote(name string) string {
	if t.dialect == sqlstore.MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// qualified puts the schema before a name.
func (t table) qualified(name string) string {
	if t.schema == "" {
		return t.quote(name)
	}
	return t.quote(t.schema) + "." + t.quote(name)
}

// statements makes the statements on a table. All values in them are numbers
// and hexadecimal text, so they are literals: each statement is one round trip
// with any driver, and goes through any pooler.
type statements struct {
	dialect sqlstore.Dialect
	table   string // quoted
	now     string
}

func newStatements(t table) statements {
	s := statements{dialect: t.dialect, table: t.qualified(t.name)}
	// The database's clock, in microseconds since 1970.
	switch t.dialect {
	case sqlstore.Postgres:
		s.now = `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)`
	case sqlstore.MySQL:
		s.now = `TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6))`
	default:
		// SQLite's clock goes in milliseconds.
		s.now = `(CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)`
	}
	return s
}

// in is the time after a duration.
func (s statements) in(d time.Duration) string {
	return fmt.Sprintf("%s + %d", s.now, d.Microseconds())
}

// insert begins a message that is not known, and changes nothing otherwise.
func (s statements) insert(id, token string, lease time.Duration) string {
	verb, end := "INSERT", " ON CONFLICT (id) DO NOTHING"
	if s.dialect == sqlstore.MySQL {
		verb, end = "INSERT IGNORE", ""
	}
	return fmt.Sprintf("%s INTO %s (id, token, done, ends_at) VALUES ('%s', '%s', 0, %s)%s",
		verb, s.table, id, token, s.in(lease), end)
}

// look tells who holds a message, whether it is done, and whether its time
// has passed.
func (s statements) look(id string) string {
	return fmt.Sprintf("SELECT token, done, CASE WHEN ends_at <= %s THEN 1 ELSE 0 END FROM %s WHERE id = '%s'", s.now, s.table, id)
}

// takeOver begins a message whose time has passed, unless another has.
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

// prune removes some of the rows whose time has passed.
func (s statements) prune() string {
	switch s.dialect {
	case sqlstore.MySQL:
		return fmt.Sprintf("DELETE FROM %s WHERE ends_at <= %s ORDER BY ends_at LIMIT %d", s.table, s.now, pruneBatch)
	case sqlstore.Postgres:
		// The clock is read once, so that the index can be searched by it.
		return fmt.Sprintf(`DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE ends_at <= (SELECT %[2]s)
ORDER BY ends_at LIMIT %[3]d FOR UPDATE SKIP LOCKED)`, s.table, s.now, pruneBatch)
	default:
		return fmt.Sprintf("DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE ends_at <= %[2]s ORDER BY ends_at LIMIT %[3]d)",
			s.table, s.now, pruneBatch)
	}
}
