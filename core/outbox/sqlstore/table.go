package sqlstore

import (
	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultTable is the default name of the table.
const DefaultTable = "postoffice_outbox"

// table is the name of an outbox table.
type table struct{ sqltable.Table }

// parseTable parses NAME or SCHEMA.NAME.
func parseTable(dialect Dialect, name string) (table, error) {
	t, err := sqltable.Parse(sqltable.Dialect(dialect), name, outbox.ErrInvalid)
	return table{t}, err
}

// due returns the name of the index for claims.
func (t table) due() string { return t.Name + "_due" }

// dead returns the name of the index of dead rows.
func (t table) dead() string { return t.Name + "_dead" }

// key returns the name of the unique index of deduplication keys.
func (t table) key() string { return t.Name + "_key" }

// topic returns the name of the index by topic, which covers the counts of pending
// rows.
func (t table) topic() string { return t.Name + "_topic" }

// using returns the table's name with a hint to use an index, in dialects with
// hints. PostgreSQL needs none: it plans each statement anew.
func (t table) using(index string) string {
	switch t.Dialect {
	case sqltable.MySQL:
		return t.SQL() + " FORCE INDEX (" + t.Quote(index) + ")"
	case sqltable.SQLite:
		return t.SQL() + " INDEXED BY " + t.Quote(index)
	default:
		return t.SQL()
	}
}
