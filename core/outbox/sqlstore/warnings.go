package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
)

// untried lists databases that speak the protocol of PostgreSQL or MySQL and are not
// tested: a part of their version text, in lower case, and their name.
var untried = []struct{ says, name string }{
	{"cockroach", "CockroachDB"},
	{"-yb-", "YugabyteDB"},
	{"greenplum", "Greenplum"},
	{"redshift", "Amazon Redshift"},
	{"materialize", "Materialize"},
	{"gaussdb", "GaussDB"},
	{"opengauss", "openGauss"},
	{"cratedb", "CrateDB"},
	{"tidb", "TiDB"},
	{"dolt", "Dolt"},
	{"vitess", "Vitess"},
	{"oceanbase", "OceanBase"},
	{"memsql", "SingleStore"},
	{"singlestore", "SingleStore"},
	{"starrocks", "StarRocks"},
	{"doris", "Apache Doris"},
}

// Warnings returns one sentence for each property of the database that an operator
// should know of although [Store.Check] succeeds: that the store was never tested
// with it, a setting that may lead to duplicate deliveries, or settings of SQLite
// with which transactions fail or block each other (no busy timeout, no WAL). It
// returns none if the database cannot be queried.
func (s *Store) Warnings(ctx context.Context) []string {
	if s.dialect == SQLite {
		return s.warningsSQLite(ctx)
	}
	var warnings []string
	query := map[Dialect]string{
		Postgres: "SELECT version()",
		MySQL:    "SELECT CONCAT(VERSION(), ' ', @@version_comment)",
	}[s.dialect]
	// Check has succeeded, so an error here is not worth reporting.
	_ = s.do(ctx, "warnings", func() error {
		warnings = nil
		var version string
		if _, err := first(ctx, s.db, query, nil, &version); err != nil {
			return err
		}
		if warning := untriedWarning(version); warning != "" {
			warnings = append(warnings, warning)
		}
		if s.dialect != MySQL {
			return nil
		}
		variables := map[string]string{}
		err := each(ctx, s.db, "SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_sync_wait')", nil,
			func(scan func(...any) error) error {
				var name, value string
				err := scan(&name, &value)
				variables[strings.ToLower(name)] = value
				return err
			})
		if warning := galeraWarning(variables); warning != "" {
			warnings = append(warnings, warning)
		}
		return err
	})
	return warnings
}

// untriedWarning returns the warning for an untested database, or an empty string.
func untriedWarning(version string) string {
	for _, database := range untried {
		if strings.Contains(strings.ToLower(version), database.says) {
			return fmt.Sprintf("the database is %s (%.200s), with which the outbox was never tested; see \"Other databases\" in the documentation of package sqlstore",
				database.name, version)
		}
	}
	return ""
}

// syncWait are the bits of wsrep_sync_wait that the store needs: for reads, and for
// updates and deletes. The node delays them until it has received what other nodes
// have committed.
const syncWait = 1 | 2

// galeraWarning returns the warning that nodes of a Galera cluster may not see what
// others have committed.
func galeraWarning(variables map[string]string) string {
	wait, err := strconv.Atoi(variables["wsrep_sync_wait"])
	if err != nil || !strings.EqualFold(variables["wsrep_on"], "ON") || wait&syncWait == syncWait {
		return ""
	}
	return fmt.Sprintf("the database is a node of a Galera cluster and wsrep_sync_wait is %d: if connections lead to different nodes, "+
		"one may not have received what was committed on another, and messages are delivered twice; add wsrep_sync_wait=%d to the data source name", wait, syncWait)
}

// adviceSQLite is an example of a data source name for SQLite.
const adviceSQLite = `as in "file:app.db?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"`

func (s *Store) warningsSQLite(ctx context.Context) (warnings []string) {
	var settings sqltable.SQLiteSettings
	err := s.do(ctx, "warnings", func() (err error) {
		settings, err = s.table.SQLiteSettings(ctx, s.db)
		return err
	})
	if err != nil {
		return nil
	}
	if settings.BusyTimeout == 0 {
		warnings = append(warnings, `the connections to SQLite have no busy timeout: transactions at the same time fail with "database is locked"; `+
			"add _pragma=busy_timeout(5000) to the data source name, "+adviceSQLite)
	}
	if settings.JournalMode != "wal" && !settings.InMemory {
		warnings = append(warnings, fmt.Sprintf("the journal mode of the SQLite file is %s, not WAL: transactions that read and those that write block each other; "+
			"add _pragma=journal_mode(WAL) to the data source name, ", settings.JournalMode)+adviceSQLite)
	}
	return warnings
}
