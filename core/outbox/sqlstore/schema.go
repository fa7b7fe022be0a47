package sqlstore

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

//go:embed schema/*.sql
var files embed.FS

// Files returns the schema files, for a table of the name [DefaultTable]:
// postgres.sql, mysql.sql and sqlite.sql create it, and postgres_1_2.sql,
// mysql_1_2.sql and sqlite_1_2.sql bring a table of version 1 to version 2. They
// can be run again without effect, but for the last, which says so.
func Files() fs.FS {
	directory, err := fs.Sub(files, "schema")
	if err != nil {
		panic(err) // the name is a constant
	}
	return directory
}

// SchemaVersion is the version of the schema that this package needs. The
// package's documentation tells what each has brought.
const SchemaVersion = 2

// Schema returns the statements that create the table and its indexes where
// there is none, for a migration of the user's. An empty name means
// [DefaultTable]. They can be run again without effect.
//
// The error is [outbox.ErrInvalid] and names the argument.
func Schema(dialect Dialect, name string) (string, error) {
	t, err := schemaTable(dialect, name)
	if err != nil {
		return "", err
	}
	return t.DDL(Files(), DefaultTable)
}

// SchemaFrom returns the statements that bring a table of an older version, from
// 1 on, to [SchemaVersion], for a migration of the user's; none of the present
// version. An empty name means [DefaultTable]. How to run them is written in
// them; [Migrate] runs them so.
//
// The error is [outbox.ErrInvalid] and names the argument.
func SchemaFrom(dialect Dialect, name string, version int) (string, error) {
	t, err := schemaTable(dialect, name)
	switch {
	case err != nil:
		return "", err
	case version < 1 || version > SchemaVersion:
		return "", fmt.Errorf("%w: version is %d; those of a schema are 1 to %d", outbox.ErrInvalid, version, SchemaVersion)
	case version == SchemaVersion:
		return "", nil
	}
	return t.DDLOf(Files(), dialect.String()+"_1_2.sql", DefaultTable)
}

// schemaTable returns the table that statements are wanted for.
func schemaTable(dialect Dialect, name string) (table, error) {
	if err := sqltable.Dialect(dialect).Validate(outbox.ErrInvalid); err != nil {
		return table{}, err
	}
	return parseTable(dialect, cmp.Or(name, DefaultTable))
}
