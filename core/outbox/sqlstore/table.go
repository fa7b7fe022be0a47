package sqlstore

import (
	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultTable is the name of the table where no option sets another.
const DefaultTable = "postoffice_outbox"

// table is the name of an outbox table.
type table struct{ sqltable.Table }

// parseTable reads NAME or SCHEMA.NAME.
func parseTable(dialect Dialect, name string) (table, error) {
	t, err := sqltable.Parse(sqltable.Dialect(dialect), name, outbox.ErrInvalid)
	return table{t}, err
}

// due is the name of the index for claims.
func (t table) due() string { return t.Name + "_due" }

// dead is the name of the index of dead rows.
func (t table) dead() string { return t.Name + "_dead" }

// key is the name of the unique index of deduplication keys.
func (t table) key() string { return t.Name + "_key" }

// topic is the name of the index by topic, which has all that is counted of
// pending rows.
func (t table) topic() string { return t.Name + "_topic" }

// using returns the table's name with a hint to use an index, in dialects that
// have hints. PostgreSQL needs none, as it plans each statement afresh.
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
