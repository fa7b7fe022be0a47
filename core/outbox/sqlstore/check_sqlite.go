package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// fittingSQLite returns affinities, as describeSQLite does: SQLite has no column
// types.
func fittingSQLite(k kind) types {
	switch k {
	case nameKind, wordsKind:
		return types{"text"}
	case stateKind, countKind, timeKind:
		return types{"integer"}
	default:
		return types{"blob"}
	}
}

// affinity returns the affinity of a declared column type, by the rules in section
// 3.1 of SQLite's "Datatypes In SQLite".
func affinity(declared string) string {
	declared = strings.ToUpper(declared)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(declared, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("INT"):
		return "integer"
	case has("CHAR", "CLOB", "TEXT"):
		return "text"
	case declared == "" || has("BLOB"):
		return "blob"
	case has("REAL", "FLOA", "DOUBLE"):
		return "real"
	default:
		return "numeric"
	}
}

func (s *Store) describeSQLite(ctx context.Context) (layout, error) {
	var found layout
	schema := s.table.Schema
	if schema == "" {
		schema = "main"
	}
	err := each(ctx, s.db, fmt.Sprintf(`SELECT name, type, CASE WHEN "notnull" <> 0 AND dflt_value IS NULL AND pk = 0 THEN 1 ELSE 0 END, "notnull" = 0
FROM pragma_table_info('%s', '%s')`, s.table.Name, schema), nil,
		func(scan func(...any) error) error {
			var c column
			err := scan(&c.name, &c.typ, &c.required, &c.null)
			c.typ = affinity(c.typ)
			found.columns = append(found.columns, c)
			return err
		})
	if err != nil || len(found.columns) == 0 {
		return found, err
	}
	var list []index
	err = each(ctx, s.db, fmt.Sprintf(`SELECT l.name, l."unique", coalesce(m.sql, '') FROM pragma_index_list('%s', '%s') AS l
LEFT JOIN "%s".sqlite_master AS m ON m.type = 'index' AND m.name = l.name`, s.table.Name, schema, schema), nil,
		func(scan func(...any) error) error {
			var i index
			var text string
			err := scan(&i.name, &i.unique, &text)
			if at := strings.LastIndex(strings.ToUpper(text), "WHERE"); at >= 0 {
				i.where = condition(text[at+len("WHERE"):])
			}
			list = append(list, i)
			return err
		})
	if err != nil {
		return found, err
	}
	for _, i := range list {
		err := each(ctx, s.db, fmt.Sprintf(`SELECT name, coll FROM pragma_index_xinfo('%s', '%s') WHERE key = 1 ORDER BY seqno`,
			strings.ReplaceAll(i.name, "'", "''"), schema), nil,
			func(scan func(...any) error) error {
				var name, collation sql.NullString
				err := scan(&name, &collation)
				if i.columns != "" {
					i.columns += ","
				}
				i.columns += name.String
				// SQLite does not use an index with another collation for byte
				// comparisons.
				i.broken = i.broken || !strings.EqualFold(collation.String, "BINARY")
				return err
			})
		if err != nil {
			return found, err
		}
		found.indexes = append(found.indexes, i)
	}
	return found, nil
}
