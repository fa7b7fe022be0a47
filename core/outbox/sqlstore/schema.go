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

// Files returns the schema files for a table named [DefaultTable]: postgres.sql,
// mysql.sql and sqlite.sql create it; postgres_1_2.sql, mysql_1_2.sql and
// sqlite_1_2.sql upgrade a table from version 1 to version 2. Running them again has
// no effect, except for the last, which says so.
func Files() fs.FS {
	directory, err := fs.Sub(files, "schema")
	if err != nil {
		panic(err) // the name is a constant
	}
	return directory
}

// SchemaVersion is the version of the schema that this package needs. The package
// documentation describes the versions.
const SchemaVersion = 2

// Schema returns the statements that create the table and its indexes if they do not
// exist, for your own migrations. An empty name means [DefaultTable]. Running them
// again has no effect.
//
// The error is [outbox.ErrInvalid] and names the argument.
func Schema(dialect Dialect, name string) (string, error) {
	t, err := schemaTable(dialect, name)
	if err != nil {
		return "", err
	}
	return t.DDL(Files(), DefaultTable)
}

// SchemaFrom returns the statements that upgrade a table from an older version, 1 or
// higher, to [SchemaVersion], for your own migrations; an empty string for the
// current version. An empty name means [DefaultTable]. Comments in the statements
// say how to run them; [Migrate] does it for you.
//
// The error is [outbox.ErrInvalid] and names the argument.
func SchemaFrom(dialect Dialect, name string, version int) (string, error) {
	t, err := schemaTable(dialect, name)
	switch {
	case err != nil:
		return "", err
	case version < 1 || version > SchemaVersion:
		return "", fmt.Errorf("%w: version is %d, not between 1 and %d", outbox.ErrInvalid, version, SchemaVersion)
	case version == SchemaVersion:
		return "", nil
	}
	return t.DDLOf(Files(), dialect.String()+"_1_2.sql", DefaultTable)
}

// schemaTable validates the arguments of Schema and SchemaFrom.
func schemaTable(dialect Dialect, name string) (table, error) {
	if err := sqltable.Dialect(dialect).Validate(outbox.ErrInvalid); err != nil {
		return table{}, err
	}
	return parseTable(dialect, cmp.Or(name, DefaultTable))
}
