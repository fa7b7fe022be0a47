package testdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is how long a server may take to start or stop on a busy machine.
	patience = 2 * time.Minute
	// pollInterval is the interval of checks for that.
	pollInterval = 10 * time.Millisecond
)

// Server is a database server on 127.0.0.1. Its methods are safe for concurrent use.
type Server struct {
	engine    engine
	programs  programs
	options   options
	directory *directory
	port      int
	shared    bool
	databases atomic.Int64

	mutex   sync.Mutex
	process *process // the last one started
}

// Option configures a server for one test.
type Option func(*options)

type options struct {
	settings [][2]string
	clock    bool
	// initialise creates the data directory; nil for an empty one.
	initialise func(context.Context, *Server) error
}

// WithSetting sets a setting of the server by the name in its manual:
// "deadlock_timeout" of PostgreSQL, "innodb_lock_wait_timeout" of MariaDB.
func WithSetting(name, value string) Option {
	return func(o *options) { o.settings = append(o.settings, [2]string{name, value}) }
}

// NewPostgres starts a PostgreSQL server for one test and removes it when the test
// ends. If PostgreSQL, or what an option needs, is not installed, the test is
// skipped, or fails with POSTOFFICE_CI=1.
func NewPostgres(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return newOwn(tb, postgres{}, options)
}

// NewMariaDB starts a MariaDB server for one test and removes it when the test ends.
// If MariaDB, or what an option needs, is not installed, the test is skipped, or
// fails with POSTOFFICE_CI=1.
func NewMariaDB(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	return newOwn(tb, mariadb{}, options)
}

func newOptions(changes []Option) options {
	var o options
	for _, change := range changes {
		change(&o)
	}
	return o
}

func newOwn(tb testing.TB, e engine, changes []Option) *Server {
	tb.Helper()
	server, err := newServer(tb.Context(), e, newOptions(changes))
	need(tb, err)
	tb.Cleanup(func() {
		if err := server.discard(); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	return server
}

// newServer creates an empty data directory and starts a server on it, which
// outlives the context.
func newServer(ctx context.Context, e engine, o options) (_ *Server, err error) {
	if o.initialise == nil {
		o.initialise = func(ctx context.Context, s *Server) error { return s.initialise(ctx) }
	}
	s := &Server{engine: e, options: o}
	if s.programs, err = e.find(); err != nil {
		return nil, fmt.Errorf("needs %s: %w", e.name(), err)
	}
	if s.directory, err = newDirectory(e.user()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.discard())
		}
	}()
	if o.clock {
		if err := s.setClock(0); err != nil {
			return nil, err
		}
	}
	if err := o.initialise(ctx, s); err != nil {
		return nil, err
	}
	// Another process may take a port before the server does.
	for range 10 {
		if s.port, err = freePort(ctx); err != nil {
			return nil, err
		}
		if err = s.start(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	return s, err
}

func (s *Server) logFile() string { return filepath.Join(s.directory.path, "log") }

// initialise creates an empty data directory.
func (s *Server) initialise(ctx context.Context) error {
	return s.run(ctx, s.programs.initialise, s.engine.initialise(s.directory.data())...)
}

// run runs a program that creates the data directory, as the user of the server.
func (s *Server) run(ctx context.Context, program string, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := launch(s.directory, syscall.SIGKILL, s.logFile(), environment(), program, arguments...)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s: making the data directory: %w", s.engine.name(), ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("%s: making the data directory: %w\n%s", s.engine.name(), p.err, p.output())
	}
	return nil
}

// freePort returns a port on which nobody listens, outside the range of ports for
// outgoing connections: while a server is down its port stays free, and a client
// that tries to connect does not connect to itself.
func freePort(ctx context.Context) (int, error) {
	const low, high = 20000, 32768
	var err error
	for range 100 {
		port := low + rand.IntN(high-low)
		var listener net.Listener
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port of 127.0.0.1 from %d to %d: %w", low, high-1, err)
}

// Create creates an empty database and returns its data source name:
// "postgres://postgres@127.0.0.1:PORT/NAME?sslmode=disable" for the drivers "pgx"
// and "postgres", "root@tcp(127.0.0.1:PORT)/NAME" for the driver "mysql", to which
// the caller can add options. The database and its connections are removed when the
// test ends.
func (s *Server) Create(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	if err := s.create(tb.Context(), name); err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.drop(context.WithoutCancel(tb.Context()), name); err != nil {
			tb.Errorf("testdb: %v", err)
		}
	})
	return s.engine.dsn(s.port, name)
}

func (s *Server) create(ctx context.Context, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := Open(s.engine.dsn(s.port, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return fmt.Errorf("%s: creating a database: %w", s.engine.name(), err)
	}
	return nil
}

func (s *Server) drop(ctx context.Context, name string) (err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.isExternal() && !s.process.running() {
		return nil // the server is about to be removed
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := Open(s.engine.dsn(s.port, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.engine.drop(ctx, db, name); err != nil {
		return fmt.Errorf("%s: dropping a database: %w", s.engine.name(), err)
	}
	return nil
}

// Pid returns the process ID of the server, and 0 while it is not running. A
// PostgreSQL server also has child processes.
func (s *Server) Pid() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.process.running() {
		return 0
	}
	return s.process.pid()
}

// Kill kills the server and its child processes with SIGKILL, like a crash, and
// waits until they have ended. It fails the test if the server is shared or not
// running.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.change(tb, "killed", true, func(context.Context) error { return s.process.killAll() })
}

// Stop shuts the server down: it ends its connections, rolls back their transactions
// and closes the files. It fails the test if the server is shared or not running.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.change(tb, "stopped", true, func(ctx context.Context) error {
		return s.process.end(ctx, s.engine.signals().orderly)
	})
}

// Start starts the server again after Kill or Stop, on the same data and port, and
// waits until it answers. It fails the test if the server is shared or running.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.change(tb, "started", false, s.start)
}

// Pause stops the server and its child processes with SIGSTOP: the kernel still
// accepts connections for it, but nothing is answered. It fails the test if the
// server is shared or not running.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.change(tb, "paused", true, func(context.Context) error { return s.process.pauseAll() })
}

// Continue continues the server after Pause.
func (s *Server) Continue(tb testing.TB) {
	tb.Helper()
	s.change(tb, "continued", true, func(context.Context) error { return s.process.continueAll() })
}

// Address returns the address of the server: 127.0.0.1 and a port.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// change starts or ends the server of one test.
func (s *Server) change(tb testing.TB, what string, running bool, do func(context.Context) error) {
	tb.Helper()
	if s.shared {
		tb.Fatalf("testdb: the server that the tests share cannot be %s; start one with NewPostgres or NewMariaDB", what)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.process.running() != running {
		tb.Fatalf("testdb: the server cannot be %s: running: %t\n%s", what, !running, s.process.output())
	}
	// A cleanup function may call this after the test's context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
	defer cancel()
	if err := do(ctx); err != nil {
		tb.Fatalf("testdb: %s was not %s: %v", s.engine.name(), what, err)
	}
}

// discard ends the server and removes its data.
func (s *Server) discard() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if s.process.running() {
		err = s.process.end(ctx, s.engine.signals().discard)
	}
	s.engine.release(ctx, s.directory.data())
	return errors.Join(err, s.directory.remove())
}

// errPortTaken means that another process listens on the port.
var errPortTaken = errors.New("the port is taken")

// start starts the server and waits until it answers.
func (s *Server) start(ctx context.Context) error {
	arguments := s.engine.serve(s.directory.data(), s.port)
	for _, setting := range s.options.settings {
		arguments = append(arguments, s.engine.setting(setting[0], setting[1]))
	}
	variables := environment()
	if s.options.clock {
		releaseClock(s.directory.data())
		more, err := s.clockVariables()
		if err != nil {
			return err
		}
		variables = append(variables, more...)
	}
	var err error
	s.process, err = launch(s.directory, s.engine.signals().discard, s.logFile(), variables, s.programs.serve, arguments...)
	if err != nil {
		return err
	}
	if err := s.answers(ctx); err != nil {
		s.process.kill()
		return fmt.Errorf("%s: %w\n%s", s.engine.name(), err, s.process.output())
	}
	return nil
}

// answers waits until the server answers.
func (s *Server) answers(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	db, err := Open(s.engine.dsn(s.port, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		directory, err := s.dataDirectory(ctx, db)
		if err == nil && filepath.Clean(directory) == s.directory.data() {
			return nil
		}
		if err == nil {
			err = errPortTaken // the server of another test process answered
		}
		select {
		case <-s.process.done:
			if s.process.says("Address already in use") || s.process.says("Bind on TCP/IP port") {
				return errPortTaken
			}
			return fmt.Errorf("the server has ended: %v", s.process.command.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-ticker.C:
		}
	}
}

// dataDirectory asks the listener on the port for its data directory. Another program
// that listens there may never answer.
func (s *Server) dataDirectory(ctx context.Context, db *sql.DB) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience/10)
	defer cancel()
	return s.engine.dataDirectory(ctx, db)
}

// tail returns the end of a file from an offset, for a message.
func tail(path string, offset int64) string {
	const limit = 4096
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(file, max(offset, info.Size()-limit), limit))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
