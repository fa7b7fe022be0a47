//go:build unix

package faults

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// TestMain runs the tests, or the app under test in a process that a test
// has started.
func TestMain(m *testing.M) {
	if text := os.Getenv(appVariable); text != "" {
		if err := runApp(text); err != nil {
			fmt.Fprintln(os.Stderr, "app under test:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(testdb.Runner{M: m})
}
