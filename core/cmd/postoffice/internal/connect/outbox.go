package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// OutboxOptions says how to open an outbox.
type OutboxOptions struct {
	// Table is the table of a database; empty for the default name. With a
	// Table, an SQLite file is always treated as the database of an app.
	Table string
	// DefaultTable is the default name.
	DefaultTable string
	// Create creates a missing file. Tables are never created.
	Create bool
}

// Outbox is an open outbox.
type Outbox struct {
	outbox.Store
	// Embedded reports whether the outbox is a file of the embedded store, which
	// one process uses at a time.
	Embedded bool
	close    []io.Closer
}

// Close closes the store and its database.
func (o *Outbox) Close() error {
	var errs []error
	for _, closer := range o.close {
		errs = append(errs, closer.Close())
	}
	return errors.Join(errs...)
}

// OpenOutbox opens an outbox and checks that it can be used. Errors have an exit
// code and a hint, and never contain a password.
func OpenOutbox(ctx context.Context, name string, options OutboxOptions) (*Outbox, error) {
	scheme, _, isURL := strings.Cut(name, "://")
	if !isURL {
		return openFile(ctx, name, options)
	}
	address, err := url.Parse(name)
	if err != nil {
		// Its text would repeat the URL, and with it the password.
		return nil, exit.Usagef("the outbox's URL cannot be parsed: special characters in user name and password must be percent-encoded")
	}
	switch strings.ToLower(scheme) {
	case "postgres", "postgresql":
		return openPostgres(ctx, address, options)
	case "mysql", "mariadb":
		return openMySQL(ctx, address, options)
	default:
		return nil, exit.Usagef("the outbox's URL begins with %q; it must begin with postgres:// or mysql://, or the outbox be the path of an SQLite file", scheme+"://")
	}
}

// closed closes the closers and joins their errors to err.
func closed(err error, closers ...io.Closer) error {
	for _, closer := range closers {
		err = errors.Join(err, closer.Close())
	}
	return err
}

// hint is the default advice for a database that cannot be used.
const hint = "check the address and the credentials of --outbox (POSTOFFICE_OUTBOX), and that the database runs"

// unusable is the error of a database that cannot be used.
func unusable(hint string, err error) error {
	return exit.New(exit.Failed, hint, fmt.Errorf("the outbox cannot be used: %w", err))
}
