package sqlstore

import (
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// settings is what options set.
type settings struct {
	table      string
	maxRecords int
	maxBytes   int64
	prepare    *bool
}

// Option changes a default of [New] or [Migrate].
type Option func(*settings) error

// WithTable names the table, NAME or SCHEMA.NAME, of letters, digits and
// underscores; without the option it is [DefaultTable]. The name is quoted, so
// its case counts where that of quoted names does: PostgreSQL makes names in
// lower case of those that a migration does not quote.
func WithTable(name string) Option {
	return func(s *settings) error {
		s.table = name
		return nil
	}
}

// WithMaxRecords bounds the number of records; an Insert beyond it fails with
// [outbox.ErrFull]. Zero means no bound, as without the option. See the
// package's documentation for what several processes see.
func WithMaxRecords(n int) Option {
	return func(s *settings) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxRecords of %d, below zero", outbox.ErrInvalid, n)
		}
		s.maxRecords = n
		return nil
	}
}

// WithMaxBytes bounds the sum of the records' sizes; an Insert beyond it fails
// with [outbox.ErrFull]. Zero means no bound, as without the option. See the
// package's documentation for what several processes see.
func WithMaxBytes(n int64) Option {
	return func(s *settings) error {
		if n < 0 {
			return fmt.Errorf("%w: WithMaxBytes of %d, below zero", outbox.ErrInvalid, n)
		}
		s.maxBytes = n
		return nil
	}
}

// WithPreparedInserts tells whether the store keeps prepared statements for
// its inserts, on each connection that it uses. Without the option it does on
// MySQL and SQLite, and not on PostgreSQL: pgx prepares what it is given by
// itself, as its own setting tells it, and poolers such as PgBouncer may not
// let statements be prepared. With lib/pq and no such pooler, true saves one of
// the two round trips of an insert.
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
