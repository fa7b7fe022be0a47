package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// remedy says how to get the schema.
const remedy = "sqlstore.Migrate makes what is missing, or the statements of sqlstore.Schema and, of an older version, sqlstore.SchemaFrom do (schema/*.sql)"

// Check reports whether the store works. The table has the columns, of types
// that hold what the store puts there, and the indexes; nothing else in it must
// be filled in; and a record can be inserted, claimed, rescheduled and deleted,
// and is there for other connections. For that Check stores a trial record and
// removes it at once; one that a killed process has left is removed as well.
// Nobody claims it, and no method of the store counts or lists it. Releases
// before this one may count it as one that is held, while it is there.
//
// The error is [ErrSchema] where the table does not fit, and names all that is
// missing or wrong. It is [ErrSession] where the settings of the session or the
// server keep the store from working, and names those. What the database
// refuses, such as for want of a privilege, is in its own words.
func (s *Store) Check(ctx context.Context) error {
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

// Probe reports whether the store can be used, like [Store.Check], but only
// reads: it looks at the table, and has the database check the privileges, and
// that it is not read-only, by statements that touch no row.
func (s *Store) Probe(ctx context.Context) error {
	return s.do(ctx, "probe", func() error {
		if err := s.checkTable(ctx); err != nil {
			return err
		}
		return s.probe(ctx)
	})
}

// checkTable says what is wrong with the table.
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

// probe runs statements of each kind that touch no row. They name a row by its
// ID, which none has, because sql_safe_updates of MySQL refuses others.
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

// layout is what a database tells of a table.
type layout struct {
	columns []column
	indexes []index
	// engine is that of MySQL.
	engine string
}

// column is a column of a table.
type column struct {
	name, typ string
	// required is set if an insert must name it, null if it may be NULL.
	required, null bool
	// misfit says what else is wrong with it, if it is a column of the store's.
	misfit string
}

// index is an index of a table.
type index struct {
	name string
	// columns are those of the key, separated by commas.
	columns string
	// where is the condition of a partial index, without blanks and brackets.
	where  string
	unique bool
	// broken is set if the database does not use the index.
	broken bool
}

// kind is what a column holds.
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

// problems names all that is missing or wrong.
func (s *Store) problems(found layout) []string { return s.misfits(found, kinds, s.indexes()) }

// misfits names what is missing or wrong of columns and indexes that are wanted.
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
			say("column %s may not be NULL, and is for rows without a key", c.name)
		}
	}
	for _, c := range found.columns {
		known := slices.ContainsFunc(kinds, func(k wanted) bool { return k.name == c.name })
		if !known && c.required {
			say("column %s is none of the store's and has no default", c.name)
		}
	}
	if s.dialect == MySQL && !strings.EqualFold(found.engine, "InnoDB") {
		say("its engine is %s, not InnoDB, which has transactions", found.engine)
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

// indexes are those that the table needs beside its primary key.
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

// fits tells whether an index is as wanted. Its name matters where statements
// name it, that is not on PostgreSQL.
func (i index) fits(dialect Dialect) func(index) bool {
	return func(found index) bool {
		return found.columns == i.columns && found.where == i.where && !found.broken && (found.unique || !i.unique) &&
			(dialect == Postgres || strings.EqualFold(found.name, i.name))
	}
}

// String describes the index for people.
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

// condition brings the condition of an index into the form of index.where.
func condition(text string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "\t", "", "\n", "", "(", "", ")", "", `"`, "").Replace(text))
}

// types are names of types that do, the first of them that of the schema file.
type types []string

// has reports whether a type is one of them.
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

// describe reads what the database tells of the table.
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
