//go:build unix

package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mutateVariable in the environment has TestMutations run.
const mutateVariable = "POSTOFFICE_MUTATE"

// edit replaces a text of a file of the module, which must be there once.
type edit struct{ file, old, new string }

// mutation is a defect, and the tests that must find it.
type mutation struct {
	name  string
	edits []edit
	// tests are names of tests for go test -run; each must fail.
	tests []string
}

var mutations = []mutation{
	{
		name: "without the fence, in the embedded store",
		edits: []edit{{
			"core/outbox/sqlite/statements.go",
			`WHERE id = ? AND token = ? AND token <> '' AND state = 0 RETURNING size`,
			`WHERE id = ? AND ? <> '' AND state = 0 RETURNING size`,
		}},
		tests: []string{"TestHeldBackPastItsLease/sqlite"},
	},
	{
		name: "without the fence, in a database",
		edits: []edit{{
			"core/outbox/sqlstore/change.go",
			`outbox.id = made.id AND outbox.token = made.token AND`,
			`outbox.id = made.id AND`,
		}},
		tests: []string{
			"TestHeldBackPastItsLease/sqlstore-sqlite",
			"TestHeldBackPastItsLease/postgres",
			"TestHeldBackPastItsLease/mariadb",
		},
	},
	{
		name: "a lease shorter than the timeout of a post",
		edits: []edit{
			{
				"core/relay.go",
				`return max(relayLease, 2*r.margin())`,
				`return r.client.cfg.bulkTimeout / 2`,
			},
			{
				// Without this one, nothing would be sent at all.
				"core/relay.go",
				`claimed.Add(lease-r.margin())`,
				`claimed.Add(time.Hour)`,
			},
		},
		tests: []string{"TestSlowServer"},
	},
	{
		name: "a standby that has not got what is committed",
		edits: []edit{{
			"core/outbox/faults/primary_test.go",
			`testdb.NewPostgresPair(t, replication)`,
			`testdb.NewPostgresPair(t, testdb.Asynchronous)`,
		}},
		tests: []string{"TestPrimaryKilled/synchronous"},
	},
	{
		name:  "without flushing to the disk",
		edits: []edit{{"core/outbox/sqlite/open.go", `"synchronous = FULL"`, `"synchronous = OFF"`}},
		tests: []string{"TestAcceptedIsOnDisk/sqlite"},
	},
	{
		name:  "flushing at checkpoints only",
		edits: []edit{{"core/outbox/sqlite/open.go", `"synchronous = FULL"`, `"synchronous = NORMAL"`}},
		tests: []string{"TestAcceptedIsOnDisk/sqlite"},
	},
	{
		name: "rows deleted before they are posted",
		edits: []edit{{
			"core/relay.go",
			"\t\t\tr.client.sendAll(ctx, d)\n",
			"\t\t\tfor _, record := range g.records {\n\t\t\t\t_, _ = r.store.Delete(ctx, record.ID)\n\t\t\t}\n\t\t\tr.client.sendAll(ctx, d)\n",
		}},
		tests: []string{"TestCrashPoints/after_delete/sqlite"},
	},
}

// TestMutations puts one defect after the other into a copy of the module and
// sees that the tests there fail. It runs if POSTOFFICE_MUTATE is 1 in the
// environment, for it compiles the module as often as there are defects.
func TestMutations(t *testing.T) {
	if os.Getenv(mutateVariable) != "1" {
		t.Skipf("set %s=1 to run it", mutateVariable)
	}
	root := moduleRoot(t)
	t.Run("no defect", func(t *testing.T) {
		// Where a test fails anyway it shows nothing.
		for _, m := range mutations {
			for _, test := range m.tests {
				output, failed := runTest(t, root, test)
				assert.False(t, failed, "%s fails without a defect:\n%s", test, output)
			}
		}
	})
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			mutated := t.TempDir()
			require.NoError(t, os.CopyFS(mutated, os.DirFS(root)))
			for _, e := range m.edits {
				e.apply(t, mutated)
			}
			for _, test := range m.tests {
				output, failed := runTest(t, mutated, test)
				if strings.Contains(output, "--- SKIP") {
					t.Logf("%s was skipped:\n%s", test, output)
					continue
				}
				assert.True(t, failed, "%s does not find the defect", test)
				assert.Contains(t, output, "--- FAIL: "+strings.Split(test, "/")[0], "it fails for another reason")
				t.Logf("RESULT %s fails, as it should: %s", test, firstError(output))
			}
		})
	}
}

// apply makes the edit in a copy of the module.
func (e edit) apply(t *testing.T, root string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(e.file))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), e.old), "%s has the text to replace once: %s", e.file, e.old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600))
}

// moduleRoot returns the directory of go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	directory, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return directory
		}
		require.NotEqual(t, filepath.Dir(directory), directory, "there is no go.mod")
		directory = filepath.Dir(directory)
	}
}

// runTest runs a test of this package in a copy of the module, and tells
// whether it failed.
func runTest(t *testing.T, root, test string) (output string, failed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var pattern []string
	for part := range strings.SplitSeq(test, "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	command := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout=5m", "-run", strings.Join(pattern, "/"), "./core/outbox/faults")
	command.Dir = root
	command.Env = append(os.Environ(), mutateVariable+"=", formVariable+"=")
	text, err := command.CombinedOutput()
	require.Contains(t, string(text), "=== RUN   "+test, "the test was run")
	return string(text), err != nil
}

// firstError returns why the first assertion in the output of go test failed.
func firstError(output string) string {
	_, after, _ := strings.Cut(output, "Error:")
	reason, _, _ := strings.Cut(after, "Test:")
	return strings.Join(strings.Fields(reason), " ")
}
