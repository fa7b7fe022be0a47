package sqlstore

import (
	"context"
	"fmt"
)

func fittingPostgres(k kind) types {
	switch k {
	case nameKind, wordsKind:
		return types{"text", "character varying"}
	case stateKind:
		return types{"smallint", "integer", "bigint"}
	case countKind:
		return types{"integer", "bigint"}
	case timeKind:
		return types{"bigint"}
	default:
		return types{"bytea"}
	}
}

func (s *Store) describePostgres(ctx context.Context) (layout, error) {
	var found layout
	relation := fmt.Sprintf("to_regclass('%s')", s.table.SQL())
	var collation string
	err := each(ctx, s.db, `SELECT a.attname, format_type(a.atttypid, a.atttypmod),
	a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', NOT a.attnotnull,
	CASE WHEN c.oid IS NULL THEN '' ELSE quote_ident(n.nspname) || '.' || quote_ident(c.collname) END
FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE a.attrelid = `+relation+` AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, nil,
		func(scan func(...any) error) error {
			var c column
			var order string
			err := scan(&c.name, &c.typ, &c.required, &c.null, &order)
			if c.name == "id" {
				collation = order
			}
			found.columns = append(found.columns, c)
			return err
		})
	if err != nil || len(found.columns) == 0 {
		return found, err
	}
	if collation != "" {
		var bytewise bool
		if _, err := first(ctx, s.db, `SELECT CAST('B' AS text) < CAST('a' AS text) COLLATE `+collation, nil, &bytewise); err != nil {
			return found, err
		}
		for i := range found.columns {
			if c := &found.columns[i]; c.name == "id" && !bytewise {
				c.misfit = fmt.Sprintf("has the collation %s, not \"C\", which compares bytes", collation)
			}
		}
	}
	err = each(ctx, s.db, `SELECT c.relname, i.indisunique, NOT (i.indisvalid AND i.indisready),
	coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
	coalesce((SELECT string_agg(a.attname, ',' ORDER BY k.place)
		FROM unnest(CAST(i.indkey AS smallint[])) WITH ORDINALITY AS k (number, place)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts), '')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = `+relation, nil,
		func(scan func(...any) error) error {
			var i index
			err := scan(&i.name, &i.unique, &i.broken, &i.where, &i.columns)
			i.where = condition(i.where)
			found.indexes = append(found.indexes, i)
			return err
		})
	return found, err
}
