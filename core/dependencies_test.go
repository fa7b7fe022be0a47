package core_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/postoffice-go/postoffice/"
	// writerWrapper is for nethttp alone: the frameworks tell the status of an
	// answer themselves.
	writerWrapper = "github.com/felixge/httpsnoop"
)

// dependencies returns the packages outside the standard library that a
// package of this module needs, tests not counted, itself included.
func dependencies(t *testing.T, name string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+name)
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.Output()
	require.NoError(t, err, problems.String())
	packages := strings.Fields(string(output))
	require.Contains(t, packages, module+name)
	return packages
}

// within tells whether a package is one of the others or below it.
func within(name string, others ...string) bool {
	for _, other := range others {
		if name == other || strings.HasPrefix(name, other+"/") {
			return true
		}
	}
	return false
}

// ofCore tells what core may depend on.
func ofCore(name string) bool {
	return name == module+"core" || name == module+"core/outbox" ||
		within(name, module+"core/internal", "github.com/avast/retry-go/v4", "github.com/google/uuid", "github.com/sony/gobreaker/v2")
}

func TestDependenciesOfCore(t *testing.T) {
	for _, name := range dependencies(t, "core") {
		assert.True(t, ofCore(name), "core depends on %s", name)
	}
}

func TestDependenciesOfTheSQLStore(t *testing.T) {
	for _, name := range dependencies(t, "core/outbox/sqlstore") {
		assert.True(t, within(name, module+"core/outbox", module+"core/internal"), "core/outbox/sqlstore depends on %s: the driver is the caller's", name)
	}
}

func TestDependenciesOfDelivery(t *testing.T) {
	for _, name := range dependencies(t, "core/delivery") {
		assert.True(t, ofCore(name) || name == module+"core/delivery", "core/delivery depends on %s", name)
	}
	for _, name := range dependencies(t, "core/delivery/sqldedup") {
		assert.True(t, ofCore(name) || within(name, module+"core/delivery", module+"core/outbox/sqlstore"), "core/delivery/sqldedup depends on %s", name)
	}
}

func TestDependenciesOfAdapters(t *testing.T) {
	t.Run("nethttp", func(t *testing.T) {
		for _, name := range dependencies(t, "nethttp") {
			assert.True(t, ofCore(name) || name == module+"nethttp" || name == writerWrapper, "nethttp depends on %s", name)
		}
	})
	for adapter, framework := range map[string]string{
		"ginpo":     "github.com/gin-gonic/gin",
		"echopo":    "github.com/labstack/echo/v4",
		"echopo/v5": "github.com/labstack/echo/v5",
	} {
		shares := map[string]bool{}
		if strings.HasPrefix(adapter, "echopo") { // whose responses have a writer of net/http
			shares = map[string]bool{module + "nethttp": true, module + "echopo/internal/exchange": true, writerWrapper: true}
		}
		t.Run(adapter, func(t *testing.T) {
			found := false
			for _, name := range dependencies(t, adapter) {
				switch {
				case within(name, framework):
					found = true
				case shares[name]:
				case strings.HasPrefix(name, module):
					assert.True(t, ofCore(name) || name == module+adapter, "%s depends on %s", adapter, name)
				default:
					assert.False(t, within(name, "github.com/gin-gonic", "github.com/labstack/echo", "go.opentelemetry.io",
						"modernc.org", "github.com/stretchr", "go.uber.org/goleak", writerWrapper), "%s depends on %s", adapter, name)
				}
			}
			assert.True(t, found, "the test looks for the framework that %s is for", adapter)
		})
	}
}
