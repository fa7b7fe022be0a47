package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// engine is a kind of database server.
type engine interface {
	// name is that of the product.
	name() string
	// user is who runs the server if the tests run as root.
	user() string
	// find looks for the programs. The error is a *missingError if one is not
	// installed.
	find() (programs, error)
	// initialise returns the arguments that make an empty data directory.
	initialise(data string) []string
	// serve returns the arguments that run the server.
	serve(data string, port int) []string
	// setting returns the argument that sets a setting of the server.
	setting(name, value string) string
	// dsn returns the data source name of a database; "" is the one that is
	// always there.
	dsn(port int, database string) string
	// dataDirectory asks a server where its data are.
	dataDirectory(ctx context.Context, db *sql.DB) (string, error)
	// drop removes a database, and who is connected to it.
	drop(ctx context.Context, db *sql.DB, database string) error
	// release frees what a killed server holds outside its directory.
	release(ctx context.Context, data string)
	// clockLibrary is the file of libfaketime that fits the server.
	clockLibrary() string
	// signals tell a server what to do.
	signals() signals
}

// programs are the paths of what an engine runs.
type programs struct {
	initialise string
	serve      string
}

// signals are how a server is told to end.
type signals struct {
	// orderly closes the database, whatever clients are doing.
	orderly syscall.Signal
	// discard ends the server when its data are of no use any more.
	discard syscall.Signal
}

// program finds a program on the path or in one of the directories that the
// patterns match, the last match first: the newest version, if the directories
// are named by version.
func program(name string, patterns ...string) (string, error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(pattern, name))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", &missingError{fmt.Sprintf("the program %s is not installed", name)}
	}
	// A link may lead to a program that looks for its files beside itself.
	return filepath.EvalSymlinks(found)
}

// environment is what the programs get to see of the environment: nothing that
// configures them.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}
