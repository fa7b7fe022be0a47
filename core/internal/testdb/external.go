package testdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// externalVariable returns the variable that names a running server for the tests
// to share, instead of one that they start: POSTOFFICE_TEST_POSTGRES, such as
// "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable", and
// POSTOFFICE_TEST_MARIADB, such as "root@tcp(127.0.0.1:3306)/", which may be MySQL.
// Its user creates and drops databases.
func externalVariable(e engine) string {
	if e.name() == (postgres{}).name() {
		return "POSTOFFICE_TEST_POSTGRES"
	}
	return "POSTOFFICE_TEST_MARIADB"
}

// newShared returns the running server that a variable names, or starts one.
func newShared(ctx context.Context, e engine) (*Server, error) {
	variable := externalVariable(e)
	address := os.Getenv(variable)
	if address == "" {
		return newServer(ctx, e, options{})
	}
	s := &Server{engine: external{e, address}}
	// Other processes create databases on the server as well.
	s.databases.Store(rand.Int64N(1 << 50)) //nolint:gosec // no secret
	db, err := Open(s.engine.dsn(0, ""))
	if err == nil {
		err = db.PingContext(ctx)
		_ = db.Close() // only pinged
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return s, nil
}

// isExternal reports whether this process did not start the server.
func (s *Server) isExternal() bool { return s.directory == nil }

// external is a server that runs already.
type external struct {
	engine
	address string
}

// dsn returns the address with another database.
func (e external) dsn(_ int, database string) string {
	if database == "" {
		return e.address
	}
	if address, err := url.Parse(e.address); err == nil && strings.HasPrefix(address.Scheme, "postgres") {
		address.Path = "/" + database
		return address.String()
	}
	config, err := mysql.ParseDSN(e.address)
	if err != nil {
		return e.address // Open returns the error
	}
	config.DBName = database
	dsn := config.FormatDSN()
	dsn, _, _ = strings.Cut(dsn, "?") // callers add options
	return dsn
}
