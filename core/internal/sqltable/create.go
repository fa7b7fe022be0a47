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
	file, err := fs.ReadFile(files, t.Dialect.String()+".sql")
	if err != nil {
		return "", err
	}
	names := regexp.MustCompile(`\b(CREATE TABLE IF NOT EXISTS |ON |INDEX IF NOT EXISTS |KEY )` + written + `(\w*)`)
	return names.ReplaceAllStringFunc(string(file), func(found string) string {
		parts := names.FindStringSubmatch(found)
		before, name := parts[1], t.Name+parts[2]
		// An index lives where its table is. SQLite wants to be told so at
		// the index, the others at the table.
		qualified := before == "CREATE TABLE IF NOT EXISTS " || before == "ON "
		if t.Dialect == SQLite {
			qualified = before != "ON "
		}
		if qualified {
			return before + t.Qualified(name)
		}
		return before + t.Quote(name)
	}), nil
}

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
