package sqlstore

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultTable is the name of the table where no option sets another.
const DefaultTable = "postoffice_outbox"

// maxTableName leaves room for the ends of index names in the 63 bytes that
// PostgreSQL keeps of a name.
const maxTableName = 58

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// table is the name of a table in parts.
type table struct {
	dialect Dialect
	// schema is empty if the connection decides.
	schema, name string
}

// parseTable reads NAME or SCHEMA.NAME.
func parseTable(dialect Dialect, name string) (table, error) {
	t := table{dialect: dialect, name: name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		t.schema, t.name = schema, rest
	}
	if (strings.Contains(name, ".") && !identifier.MatchString(t.schema)) || !identifier.MatchString(t.name) {
		return table{}, fmt.Errorf("%w: table is %q; it must be a name of letters, digits and underscores, or such a schema, a dot and a name",
			outbox.ErrInvalid, name)
	}
	if len(t.name) > maxTableName || len(t.schema) > maxTableName {
		return table{}, fmt.Errorf("%w: table is %q; a name has at most %d letters", outbox.ErrInvalid, name, maxTableName)
	}
	return t, nil
}

// quote quotes an identifier, which has no quotes in it.
func (t table) quote(name string) string {
	if t.dialect == MySQL {
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

// sql is the table's name in a statement.
func (t table) sql() string { return t.qualified(t.name) }

// String is the table's name for people.
func (t table) String() string {
	if t.schema == "" {
		return t.name
	}
	return t.schema + "." + t.name
}

// due is the name of the index for claims.
func (t table) due() string { return t.name + "_due" }

// dead is the name of the index of dead rows.
func (t table) dead() string { return t.name + "_dead" }

// using returns the table's name with a hint to use an index, in dialects that
// have hints. PostgreSQL needs none, as it plans each statement afresh.
func (t table) using(index string) string {
	switch t.dialect {
	case MySQL:
		return t.sql() + " FORCE INDEX (" + t.quote(index) + ")"
	case SQLite:
		return t.sql() + " INDEXED BY " + t.quote(index)
	default:
		return t.sql()
	}
}
