package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// remedy says how to create or upgrade the schema.
const remedy = "run sqlstore.Migrate, or the statements of sqlstore.Schema, or of sqlstore.SchemaFrom for a table of an older version (schema/*.sql)"

// Check reports whether the store works:
//
//   - The table has the required columns and indexes, of suitable types, and no other
//     column that an insert would have to set.
//   - A record can be inserted, claimed, rescheduled and deleted, and is visible to other
//     connections. Check stores a trial record for this and removes it at once, together
//     with trial records that a killed process has left.
//
// Trial records are never claimed, and no method of the store counts or lists them.
// Older releases may count one as a held record while it exists.
//
// The error is [ErrSchema] if the table does not fit; it names everything that is
// missing or wrong. It is [ErrSession] if settings of the session or the server keep
// the store from working; it names the settings. Other errors are the database's
// own, for example a missing privilege.
func (s *Store) Check(ctx context.Context) error { return s.hint(ctx, s.check(ctx)) }

func (s *Store) check(ctx context.Context) error {
	var session sqltable.Session
	err := s.do(ctx, "check", func() (err error) {
		if session, err = s.checkSession(ctx); err != nil {
			return err
		}
		return s.checkTable(ctx)
	})
	if err != nil {
		return err
	}
	s.learnEncoding(ctx)
	if s.dialect == MySQL {
		s.learnPacket(ctx)
	}
	return s.do(ctx, "check", func() error {
		return session.Explain(s.storable(func() error { return s.try(ctx) }))
	})
}

// Probe reports whether the store can be used, like [Store.Check], but only reads:
// it inspects the table and runs statements that match no row, so that the database
// checks the privileges and whether it is read-only.
func (s *Store) Probe(ctx context.Context) error {
	return s.hint(ctx, s.do(ctx, "probe", func() error {
		if err := s.checkTable(ctx); err != nil {
			return err
		}
		return s.probe(ctx)
	}))
}

// hint explains an ErrSchema of a database in which another connection may have
// created the table.
func (s *Store) hint(ctx context.Context, err error) error {
	if !errors.Is(err, ErrSchema) {
		return err
	}
	return s.table.HintMemory(ctx, s.db, err)
}

// checkTable checks the columns and indexes of the table.
func (s *Store) checkTable(ctx context.Context) error {
	found, err := s.describe(ctx)
	if err != nil {
		return err
	}
	if len(found.columns) == 0 {
		return fmt.Errorf("%w: table %s is missing; %s", ErrSchema, s.table, remedy)
	}
	if problems := s.problems(found); len(problems) > 0 {
		return fmt.Errorf("%w: table %s: %s; %s", ErrSchema, s.table, strings.Join(problems, "; "), remedy)
	}
	return nil
}

// probe runs a statement of each kind that matches no row. The statements have a
// condition on the ID, because MySQL's sql_safe_updates rejects others.
func (s *Store) probe(ctx context.Context) error {
	name := s.table.SQL()
	for _, statement := range []string{
		"INSERT INTO " + name + " (" + columns + ", size) SELECT " + columns + ", size FROM " + name + " WHERE id = ''",
		"UPDATE " + name + " SET due_at = due_at, token = token, attempts = attempts, state = state, last_error = last_error WHERE id = ''",
		"DELETE FROM " + name + " WHERE id = ''",
	} {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// layout is the structure of a table as the database reports it.
type layout struct {
	columns []column
	indexes []index
	// engine is set on MySQL only.
	engine string
}

// column is a column of a table.
type column struct {
	name, typ string
	// required means that an insert must set the column, null that it may be NULL.
	required, null bool
	// misfit says what else is wrong with a column of the store.
	misfit string
}

// index is an index of a table.
type index struct {
	name string
	// columns are the columns of the key, separated by commas.
	columns string
	// where is the condition of a partial index, without spaces and parentheses.
	where  string
	unique bool
	// broken means that the database does not use the index.
	broken bool
}

// kind is what kind of value a column holds.
type kind int

const (
	nameKind kind = iota
	wordsKind
	stateKind
	countKind
	timeKind
	bytesKind
)

// wanted is a column that the store needs.
type wanted struct {
	name string
	kind kind
}

// kinds are the columns of the store, in the order of the schema files.
var kinds = []wanted{
	{"id", nameKind}, {"state", stateKind}, {"due_at", timeKind}, {"token", nameKind}, {"attempts", countKind},
	{"created_at", timeKind}, {"deliver_at", timeKind}, {"size", timeKind}, {"topic", nameKind},
	{"last_error", wordsKind}, {"attributes", bytesKind}, {"payload", bytesKind}, {"dedup_key", nameKind},
}

// problems lists everything that is missing or wrong.
func (s *Store) problems(found layout) []string { return s.misfits(found, kinds, s.indexes()) }

// misfits compares a table with the required columns and indexes.
func (s *Store) misfits(found layout, kinds []wanted, indexes []index) []string {
	var problems []string
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, want := range kinds {
		i := slices.IndexFunc(found.columns, func(c column) bool { return c.name == want.name })
		if i < 0 {
			say("column %s is missing", want.name)
			continue
		}
		c := found.columns[i]
		if fitting := s.dialect.fitting(want.name, want.kind); !fitting.has(c.typ) {
			say("column %s is %s, not %s", c.name, c.typ, fitting[0])
		} else if c.misfit != "" {
			say("column %s %s", c.name, c.misfit)
		} else if want.name == "dedup_key" && !c.null {
			say("column %s is NOT NULL, but must be NULL for rows without a key", c.name)
		}
	}
	for _, c := range found.columns {
		known := slices.ContainsFunc(kinds, func(k wanted) bool { return k.name == c.name })
		if !known && c.required {
			say("column %s does not belong to the store and has no default", c.name)
		}
	}
	if s.dialect == MySQL && !strings.EqualFold(found.engine, "InnoDB") {
		say("its engine is %s, not InnoDB: the store needs transactions", found.engine)
	}
	if !slices.ContainsFunc(found.indexes, func(i index) bool {
		return i.unique && i.columns == "id" && i.where == "" && !i.broken
	}) {
		say("the primary key on (id) is missing")
	}
	for _, want := range indexes {
		if !slices.ContainsFunc(found.indexes, want.fits(s.dialect)) {
			say("%s is missing", want)
		}
	}
	return problems
}

// indexes returns the indexes that the table needs, without the primary key.
func (s *Store) indexes() []index {
	key := index{name: s.table.key(), columns: "dedup_key", unique: true}
	topic := index{name: s.table.topic(), columns: "topic,due_at,id"}
	switch s.dialect {
	case MySQL:
		topic.columns = "state,topic,due_at,id,size,created_at,token"
		return []index{{name: s.table.due(), columns: "state,due_at,id"}, key, topic}
	case SQLite:
		topic.columns += ",size,created_at,token"
	}
	key.where, topic.where = condition("dedup_key IS NOT NULL"), condition(s.dialect.pending())
	return []index{
		{name: s.table.due(), columns: "due_at,id", where: condition(s.dialect.pending())},
		{name: s.table.dead(), columns: "id", where: "state=1"},
		key, topic,
	}
}

// fits returns a function that compares an index with i. Names are compared on MySQL
// and SQLite, whose statements use them in hints.
func (i index) fits(dialect Dialect) func(index) bool {
	return func(found index) bool {
		return found.columns == i.columns && found.where == i.where && !found.broken && (found.unique || !i.unique) &&
			(dialect == Postgres || strings.EqualFold(found.name, i.name))
	}
}

// String returns a readable description of the index.
func (i index) String() string {
	text := "index "
	if i.unique {
		text = "unique index "
	}
	text += i.name + " on (" + strings.ReplaceAll(i.columns, ",", ", ") + ")"
	if i.where != "" {
		text += " where " + strings.NewReplacer("=", " = ", "<>", " <> ", "isnotnull", " is not null").Replace(i.where)
	}
	return text
}

// condition converts the condition of an index to the form of index.where.
func condition(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "\t", "", "\n", "", "(", "", ")", "", `"`, "").Replace(text))
}

// types are names of suitable types, beginning with the type in the schema file.
type types []string

// has reports whether a type is suitable.
func (t types) has(name string) bool {
	return slices.Contains(t, strings.ToLower(name))
}

// fitting returns the types that a column may have.
func (d Dialect) fitting(name string, k kind) types {
	switch d {
	case Postgres:
		return fittingPostgres(k)
	case MySQL:
		return fittingMySQL(name, k)
	default:
		return fittingSQLite(k)
	}
}

// describe reads the structure of the table.
func (s *Store) describe(ctx context.Context) (layout, error) {
	switch s.dialect {
	case Postgres:
		return s.describePostgres(ctx)
	case MySQL:
		return s.describeMySQL(ctx)
	default:
		return s.describeSQLite(ctx)
	}
}
