package sqlstore

import (
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// settings are the values that options set.
type settings struct {
	table      string
	maxRecords int
	maxBytes   int64
	prepare    *bool
}

// Option changes a default of [New] or [Migrate].
type Option func(*settings) error

// WithTable sets the name of the table, NAME or SCHEMA.NAME, of letters, digits and
// underscores. The default is [DefaultTable]. The store quotes the name, so its case
// matters as in quoted names: PostgreSQL folds names to lower case that a migration
// does not quote.
func WithTable(name string) Option {
	return func(s *settings) error {
		s.table = name
		return nil
	}
}

// WithMaxRecords bounds the number of records. An Insert beyond the bound fails with
// [outbox.ErrFull]. Zero, the default, means no bound; a negative number is an
// error. See "Bounds" in the package documentation for several stores on one table.
func WithMaxRecords(n int) Option {
	return func(s *settings) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxRecords of %d, below zero", outbox.ErrInvalid, n)
		}
		s.maxRecords = n
		return nil
	}
}

// WithMaxBytes bounds the sum of the records' sizes in bytes. An Insert beyond the
// bound fails with [outbox.ErrFull]. Zero, the default, means no bound; a negative
// number is an error. See "Bounds" in the package documentation for several stores
// on one table.
func WithMaxBytes(n int64) Option {
	return func(s *settings) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxBytes of %d, below zero", outbox.ErrInvalid, n)
		}
		s.maxBytes = n
		return nil
	}
}

// WithPreparedInserts sets whether the store keeps prepared statements for its
// inserts on each connection. The default is true on MySQL and SQLite, and false on
// PostgreSQL: pgx prepares statements by itself, as configured, and poolers such as
// PgBouncer may not support prepared statements. With lib/pq and no such pooler,
// true saves one of the two round trips of an insert.
func WithPreparedInserts(prepare bool) Option {
	return func(s *settings) error {
		s.prepare = &prepare
		return nil
	}
}

// configure applies options to the defaults.
func configure(options []Option) (settings, error) {
	s := settings{table: DefaultTable}
	for i, option := range options {
		if option == nil {
			return settings{}, fmt.Errorf("%w: options[%d] is nil", outbox.ErrInvalid, i)
		}
		if err := option(&s); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}
