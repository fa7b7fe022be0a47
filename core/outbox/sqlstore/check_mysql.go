package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
)

func fittingMySQL(name string, k kind) types {
	switch k {
	case nameKind:
		// validate rejects topics that a non-strict SQL mode would truncate.
		if name == "topic" {
			return types{fmt.Sprintf("varbinary(%d)", maxTopic)}
		}
		return types{fmt.Sprintf("varbinary(%d)", maxToken)}
	case wordsKind:
		return types{"mediumtext", "longtext"}
	case stateKind:
		// MySQL before 8.0.19 and MariaDB add a width.
		return types{"tinyint", "tinyint(4)", "smallint", "smallint(6)", "int", "int(11)", "bigint", "bigint(20)"}
	case countKind:
		return types{"int", "int(11)", "bigint", "bigint(20)"}
	case timeKind:
		return types{"bigint", "bigint(20)"}
	default:
		return types{"longblob", "mediumblob"}
	}
}

func (s *Store) describeMySQL(ctx context.Context) (layout, error) {
	var found layout
	where := s.table.WhereMySQL()
	err := each(ctx, s.db, `SELECT column_name, column_type, character_set_name,
	CASE WHEN is_nullable = 'NO' AND column_default IS NULL AND extra = '' THEN 1 ELSE 0 END, is_nullable = 'YES'
FROM information_schema.columns`+where+` ORDER BY ordinal_position`, nil,
		func(scan func(...any) error) error {
			var c column
			var set sql.NullString
			err := scan(&c.name, &c.typ, &set, &c.required, &c.null)
			if set.Valid && set.String != "utf8mb4" {
				c.misfit = fmt.Sprintf("has the character set %s, not utf8mb4", set.String)
			}
			found.columns = append(found.columns, c)
			return err
		})
	if err != nil || len(found.columns) == 0 {
		return found, err
	}
	var engine sql.NullString
	if _, err := first(ctx, s.db, "SELECT engine FROM information_schema.tables"+where, nil, &engine); err != nil {
		return found, err
	}
	found.engine = engine.String
	err = each(ctx, s.db, `SELECT index_name, column_name, non_unique FROM information_schema.statistics`+where+`
ORDER BY index_name, seq_in_index`, nil,
		func(scan func(...any) error) error {
			var name string
			var part sql.NullString // NULL for an expression
			var several bool
			if err := scan(&name, &part, &several); err != nil {
				return err
			}
			if n := len(found.indexes); n > 0 && found.indexes[n-1].name == name {
				found.indexes[n-1].columns += "," + part.String
				return nil
			}
			found.indexes = append(found.indexes, index{name: name, columns: part.String, unique: !several})
			return nil
		})
	return found, err
}
