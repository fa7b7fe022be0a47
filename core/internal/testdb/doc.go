// Package testdb runs private database servers for tests: PostgreSQL and MariaDB,
// from the programs installed on the machine. A server listens on a port of
// 127.0.0.1, keeps its data in a separate temporary directory, and makes commits as
// durable as in production, so a test may crash it.
//
//	func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }
//
//	func TestStore(t *testing.T) {
//		db, err := sql.Open("pgx", testdb.Postgres(t).Create(t))
//		…
//	}
//
// # Servers
//
// [Postgres] and [MariaDB] return the server that all tests of the process share;
// each test creates its own databases with [Server.Create]. A test cannot stop a
// shared server. [NewPostgres] and [NewMariaDB] start a server for one test, which
// takes about a second; it can be killed, stopped and started again, and [WithClock]
// gives it a clock that the test sets.
//
// [NewPostgresPair] starts a primary and its standby, whose roles a test can
// exchange, and [NewGalera] a cluster of MariaDB. [NewPgBouncer] starts a connection
// pooler in front of a PostgreSQL database, and [NewProxy] a load balancer whose
// targets a test can change.
//
// A test is skipped if its database is not installed. With the environment variable
// POSTOFFICE_CI=1 it fails instead.
//
// # Running servers
//
// POSTOFFICE_TEST_POSTGRES and POSTOFFICE_TEST_MARIADB name a running server, by
// its data source name, that [Postgres] and [MariaDB] return instead: another
// version, or MySQL. Tests create their databases there and drop them at the end.
//
// # Processes
//
// PostgreSQL refuses to run as root, so tests that run as root start the servers as
// the user postgres or mysql, or else as nobody. On Linux the servers die with the
// process that started them, however that ends; a later run removes the directory
// that is left.
//
// While a server runs, one goroutine waits for its end. With goleak, write
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Runner{M: m}) }
//
// which checks after the shared servers have stopped. A check in each test needs
// goleak.IgnoreAnyFunction([Goroutine]) if the test uses a shared server.
//
// Servers must not be started or stopped in a bubble of testing/synctest.
package testdb
