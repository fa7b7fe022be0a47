package sqlstore

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// TestTransactionalProgram runs examples/transactional twice on one PostgreSQL
// database. The example's own tests cannot import testdb.
func TestTransactionalProgram(t *testing.T) {
	url := testdb.Postgres(t).Create(t)
	program := filepath.Join(t.TempDir(), "transactional")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	build, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../../examples/transactional").CombinedOutput()
	require.NoError(t, err, string(build))

	for _, want := range []string{"Orders stored: [2]. Messages that arrived: 1.", "Orders stored: [4]. Messages that arrived: 1."} {
		command := exec.CommandContext(t.Context(), program, "-postgres", url)
		command.Env = environmentWithout("POSTOFFICE_")
		output, err := command.CombinedOutput()
		require.NoError(t, err, string(output))
		assert.Contains(t, string(output), "The database is postgres.")
		assert.Contains(t, string(output), want)
	}
	var left int
	require.NoError(t, connect(t, "pgx", url).QueryRowContext(t.Context(), "SELECT count(*) FROM postoffice_outbox").Scan(&left))
	assert.Zero(t, left)
}

// environmentWithout returns the environment without the variables whose names
// begin with prefix.
func environmentWithout(prefix string) []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, prefix) {
			kept = append(kept, variable)
		}
	}
	return kept
}
