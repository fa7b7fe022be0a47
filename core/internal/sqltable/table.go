package sqltable

import (
	"fmt"
	"regexp"
	"strings"
)

// MaxName leaves room for the ends of index names in the 63 bytes that
// PostgreSQL keeps of a name.
const MaxName = 58

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Table is the name of a table in parts.
type Table struct {
	Dialect
	// Schema is empty if the connection decides.
	Schema, Name string
}

// Parse reads NAME or SCHEMA.NAME. Its error is invalid.
func Parse(dialect Dialect, name string, invalid error) (Table, error) {
	t := Table{Dialect: dialect, Name: name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		t.Schema, t.Name = schema, rest
	}
	if (strings.Contains(name, ".") && !identifier.MatchString(t.Schema)) || !identifier.MatchString(t.Name) {
		return Table{}, fmt.Errorf("%w: table is %q; it must be a name of letters, digits and underscores, or such a schema, a dot and a name",
			invalid, name)
	}
	if len(t.Name) > MaxName || len(t.Schema) > MaxName {
		return Table{}, fmt.Errorf("%w: table is %q; a name has at most %d letters", invalid, name, MaxName)
	}
	return t, nil
}

// Quote quotes an identifier, which has no quotes in it.
func (t Table) Quote(name string) string {
	if t.Dialect == MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// Qualified puts the schema before a name.
func (t Table) Qualified(name string) string {
	if t.Schema == "" {
		return t.Quote(name)
	}
	return t.Quote(t.Schema) + "." + t.Quote(name)
}

// SQL is the table's name in a statement.
func (t Table) SQL() string { return t.Qualified(t.Name) }

// String is the table's name for people.
func (t Table) String() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// WhereMySQL is the condition that selects the table in a view of MySQL's
// information_schema.
func (t Table) WhereMySQL() string {
	schema := "DATABASE()"
	if t.Schema != "" {
		schema = "'" + t.Schema + "'"
	}
	return fmt.Sprintf(" WHERE table_schema = %s AND table_name = '%s'", schema, t.Name)
}
