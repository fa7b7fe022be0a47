package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// DDL is the schema file of the table's dialect with the names of this table
// instead of those of the table that the file is for.
func (t Table) DDL(files fs.FS, written string) (string, error) {
	return t.DDLOf(files, t.Dialect.String()+".sql", written)
}

// DDLOf is DDL of a file of another name, such as one that brings a table from
// a version to the next.
func (t Table) DDLOf(files fs.FS, name, written string) (string, error) {
	file, err := fs.ReadFile(files, name)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(file), Table{Dialect: t.Dialect, Name: written}.WhereMySQL(), t.WhereMySQL())
	text = strings.ReplaceAll(text, "index_name = '"+written, "index_name = '"+t.Name)
	names := regexp.MustCompile(`\b(CREATE TABLE IF NOT EXISTS |ALTER TABLE |ON |INDEX IF NOT EXISTS |INDEX CONCURRENTLY IF NOT EXISTS |KEY )` + written + `(\w*)`)
	return names.ReplaceAllStringFunc(text, func(found string) string {
		parts := names.FindStringSubmatch(found)
		before, name := parts[1], t.Name+parts[2]
		// An index lives where its table is. SQLite wants to be told so at
		// the index, the others at the table.
		qualified := strings.Contains(before, "TABLE ") || before == "ON "
		if t.Dialect == SQLite {
			qualified = before != "ON "
		}
		if qualified {
			return before + t.Qualified(name)
		}
		return before + t.Quote(name)
	}), nil
}

// Statements splits a schema file.
func Statements(text string) []string { return statements(text) }

// statements splits a schema file.
func statements(text string) []string {
	var list []string
	for statement := range strings.SplitSeq(text, ";\n") {
		var lines []string
		for line := range strings.Lines(statement) {
			if !strings.HasPrefix(strings.TrimSpace(line), "--") && strings.TrimSpace(line) != "" {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			list = append(list, strings.Join(lines, ""))
		}
	}
	return list
}

// execer is a *sql.DB or *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Create runs the statements of a schema file. On PostgreSQL, where two that
// create the same table at the same time fail, it takes an advisory lock
// first, which lasts as long as the transaction: there db must be one.
func (t Table) Create(ctx context.Context, db execer, lock int64, text string) error {
	list := statements(text)
	if t.Dialect == Postgres {
		list = append([]string{fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lock)}, list...)
	}
	for _, statement := range list {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
