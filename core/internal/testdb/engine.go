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
	// name returns the name of the product.
	name() string
	// user returns the user of the server if the tests run as root.
	user() string
	// find finds the programs. The error is a *missingError if one is not installed.
	find() (programs, error)
	// initialise returns the arguments that create an empty data directory.
	initialise(data string) []string
	// serve returns the arguments that run the server.
	serve(data string, port int) []string
	// setting returns the argument that sets a setting of the server.
	setting(name, value string) string
	// dsn returns the data source name of a database; "" is the one that always
	// exists.
	dsn(port int, database string) string
	// dataDirectory asks a server for its data directory.
	dataDirectory(ctx context.Context, db *sql.DB) (string, error)
	// drop removes a database and its connections.
	drop(ctx context.Context, db *sql.DB, database string) error
	// release frees what a killed server holds outside its directory.
	release(ctx context.Context, data string)
	// clockLibrary returns the file of libfaketime that fits the server.
	clockLibrary() string
	// signals returns the signals that end the server.
	signals() signals
}

// programs are the paths of an engine's programs.
type programs struct {
	initialise string
	serve      string
}

// signals are the signals that end a server.
type signals struct {
	// orderly closes the database regardless of its clients.
	orderly syscall.Signal
	// discard ends the server when its data are no longer needed.
	discard syscall.Signal
}

// program finds a program on the path or in the directories that match the patterns.
// It returns the last match: the newest version, if the directories are named by
// version.
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
	// Programs search for their files next to themselves, so symbolic links are
	// resolved.
	return filepath.EvalSymlinks(found)
}

// environment returns the environment of the programs, without variables that
// configure them.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}
