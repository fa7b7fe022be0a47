package sqltable

import (
	"fmt"
	"regexp"
	"strings"
)

// MaxName is the maximum length of a table name. It leaves space for the suffixes of
// index names within PostgreSQL's limit of 63 bytes.
const MaxName = 58

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Table is the name of a table, split into its parts.
type Table struct {
	Dialect
	// Schema is empty for the connection's default schema.
	Schema, Name string
}

// Parse parses NAME or SCHEMA.NAME. Its error wraps invalid.
func Parse(dialect Dialect, name string, invalid error) (Table, error) {
	t := Table{Dialect: dialect, Name: name}
	if schema, rest, ok := strings.Cut(name, "."); ok {
		t.Schema, t.Name = schema, rest
	}
	if (strings.Contains(name, ".") && !identifier.MatchString(t.Schema)) || !identifier.MatchString(t.Name) {
		return Table{}, fmt.Errorf("%w: table is %q; it must be NAME or SCHEMA.NAME, of letters, digits and underscores",
			invalid, name)
	}
	if len(t.Name) > MaxName || len(t.Schema) > MaxName {
		return Table{}, fmt.Errorf("%w: table is %q; a name has at most %d letters", invalid, name, MaxName)
	}
	return t, nil
}

// Quote quotes an identifier that contains no quotes.
func (t Table) Quote(name string) string {
	if t.Dialect == MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// Qualified returns a name with the schema before it.
func (t Table) Qualified(name string) string {
	if t.Schema == "" {
		return t.Quote(name)
	}
	return t.Quote(t.Schema) + "." + t.Quote(name)
}

// SQL returns the table's name for a statement.
func (t Table) SQL() string { return t.Qualified(t.Name) }

// String returns the table's name for display.
func (t Table) String() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// WhereMySQL returns the condition that selects the table in a view of MySQL's
// information_schema.
func (t Table) WhereMySQL() string {
	schema := "DATABASE()"
	if t.Schema != "" {
		schema = "'" + t.Schema + "'"
	}
	return fmt.Sprintf(" WHERE table_schema = %s AND table_name = '%s'", schema, t.Name)
}
