package sqlstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// untried are parts of what databases say of their versions, in small letters, that
// speak the protocol of PostgreSQL or MySQL, and their names. No test runs on them.
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

// Warnings returns what an operator should know of a database on which
// [Store.Check] finds no fault, a sentence each: that it is one with which the
// store was never tried, or a setting with which messages may be delivered twice.
// None is returned where the database cannot be asked.
func (s *Store) Warnings(ctx context.Context) []string {
	var warnings []string
	query := map[Dialect]string{
		Postgres: "SELECT version()",
		MySQL:    "SELECT CONCAT(VERSION(), ' ', @@version_comment)",
	}[s.dialect]
	if query == "" {
		return nil
	}
	// What fails here is not worth an error: Check has succeeded.
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

// untriedWarning names a database by what it says of its version.
func untriedWarning(version string) string {
	for _, database := range untried {
		if strings.Contains(strings.ToLower(version), database.says) {
			return fmt.Sprintf("the database is %s (%.200s), with which the outbox was never tested; see \"Other databases\" in the documentation of package sqlstore",
				database.name, version)
		}
	}
	return ""
}

// syncWait are the bits of wsrep_sync_wait that the store needs: reads, and updates
// and deletes. The node waits before those until it has what the others have
// committed.
const syncWait = 1 | 2

// galeraWarning says that nodes of a Galera cluster may not see what others have
// committed.
func galeraWarning(variables map[string]string) string {
	wait, err := strconv.Atoi(variables["wsrep_sync_wait"])
	if err != nil || !strings.EqualFold(variables["wsrep_on"], "ON") || wait&syncWait == syncWait {
		return ""
	}
	return fmt.Sprintf("the database is a node of a Galera cluster and wsrep_sync_wait is %d: where connections lead to different nodes, "+
		"one may not have yet what was committed on another, and messages are delivered twice; add wsrep_sync_wait=%d to the data source name", wait, syncWait)
}
