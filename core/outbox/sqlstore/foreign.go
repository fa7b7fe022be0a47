package sqlstore

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// encoding says which characters a text column accepts. LastError contains answers
// of servers and may have any character, but no character may keep a record from
// being stored or given back.
type encoding struct{ known atomic.Int32 }

const (
	unknownEncoding int32 = iota
	// unicode accepts every character.
	unicode
	// narrow does not: all characters but ASCII are written as escapes.
	narrow
)

// words converts foreign text for a text column: databases reject NUL, invalid UTF-8
// and characters that are not in their character set.
func (s *Store) words(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	switch s.encoding.known.Load() {
	case unicode:
		return text
	case unknownEncoding:
		// MySQL's columns have the character set utf8mb4, and SQLite has Unicode
		// only.
		if s.dialect != Postgres {
			return text
		}
	}
	return escaped(text)
}

// escaped writes all characters but ASCII as escapes of a Go string: \u00e9,
// \U0001f600.
func escaped(text string) string {
	quoted := make([]byte, 0, len(text))
	for _, r := range text {
		if r < utf8.RuneSelf {
			quoted = append(quoted, byte(r))
			continue
		}
		character := strconv.QuoteRuneToASCII(r)
		quoted = append(quoted, character[1:len(character)-1]...)
	}
	return string(quoted)
}

// ascii reports whether a text is the same in all character sets.
func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foreign reports whether a record has text that some encodings reject.
func foreign(record outbox.Record) bool { return !ascii(record.LastError) }

// learnEncoding asks PostgreSQL, once, whether the database and the connection
// accept every character. If the query fails, the answer stays unknown.
func (s *Store) learnEncoding(ctx context.Context) {
	if s.dialect != Postgres || s.encoding.known.Load() != unknownEncoding {
		return
	}
	var database, connection string
	found, err := first(ctx, s.db, "SELECT getdatabaseencoding(), current_setting('client_encoding')", nil, &database, &connection)
	if err != nil || !found {
		return
	}
	// SQL_ASCII stores bytes without checking them.
	takesAll := func(name string) bool { return name == "UTF8" || name == "SQL_ASCII" }
	known := narrow
	if takesAll(database) && takesAll(connection) {
		known = unicode
	}
	s.encoding.known.CompareAndSwap(unknownEncoding, known)
}

// storable runs a statement that stores foreign text. If the database rejects the
// text, it runs the statement again with the text escaped, and later ones too.
func (s *Store) storable(run func() error) error {
	before := s.encoding.known.Load()
	err := run()
	if before != narrow && s.table.Classify(err) == sqltable.BadText {
		s.encoding.known.Store(narrow)
		err = run()
	}
	return err
}
