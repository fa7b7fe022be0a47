package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUntriedDatabases(t *testing.T) {
	for version, name := range map[string]string{
		"CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)":        "CockroachDB",
		"PostgreSQL 11.2-YB-2.20.1.3-b0 on x86_64-pc-linux-gnu, compiled by clang version 16.0.6":     "YugabyteDB",
		"8.0.11-TiDB-v7.5.1 TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible": "TiDB",
		"8.0.33 Dolt":          "Dolt",
		"8.0.30-Vitess Vitess": "Vitess",
		"PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc": "",
		"10.11.19-MariaDB-0+deb12u1 Debian 12":                                              "",
		"8.0.36 MySQL Community Server - GPL":                                               "",
	} {
		warning := untriedWarning(version)
		if name == "" {
			assert.Empty(t, warning, version)
		} else {
			assert.Contains(t, warning, "the database is "+name+" (", version)
		}
	}
}

func TestGaleraWarning(t *testing.T) {
	for wait, warned := range map[string]bool{"0": true, "1": true, "2": true, "3": false, "4": true, "7": false, "15": false} {
		assert.Equal(t, warned, galeraWarning(map[string]string{"wsrep_on": "ON", "wsrep_sync_wait": wait}) != "", wait)
	}
	assert.Empty(t, galeraWarning(map[string]string{"wsrep_on": "OFF", "wsrep_sync_wait": "0"}))
	assert.Empty(t, galeraWarning(nil), "another database")
}

// TestNoWarnings shows that databases with which the store is tested are quiet.
func TestNoWarnings(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		assert.Empty(t, store.Warnings(t.Context()))
	})
}
