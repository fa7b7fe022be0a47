package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/examples/settings"
)

var readers = map[string]func(path string) (core.Config, error){"yaml": settings.FromYAML, "viper": settings.FromViper}

func TestSettings(t *testing.T) {
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			config, err := read("app.yaml")
			require.NoError(t, err)
			assert.Equal(t, core.Config{
				URL: "http://postoffice:4000", Topics: []string{"orders"}, OriginHost: "http://user:secret@shop:8080", RecoveryEnabled: true,
				Timeout: 300 * time.Millisecond, BulkTimeout: 10 * time.Second,
				Consumers: []core.Consumer{{Topic: "payments", Target: "http://shop:8080/payments", Timeout: 10 * time.Second}},
			}, config)
			client, err := core.NewClient(config)
			require.NoError(t, err)
			require.NoError(t, client.Stop(t.Context()))
		})
	}
}

// TestMisspelt has mistakes that YAML makes easy: a misspelt key, a section
// without a value and a topic that is a date.
func TestMisspelt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.yaml")
	require.NoError(t, os.WriteFile(path, []byte("postoffice:\n  timout: 1\n  url:\n  topics: [2026-01-02]\n"), 0o600))
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			_, err := read(path)
			require.ErrorIs(t, err, core.ErrInvalidConfig)
			assert.ErrorContains(t, err, "TOPICS[0] has the Go type time.Time")
		})
	}
	require.NoError(t, os.WriteFile(path, []byte("postoffice:\n  timout: 1\n  url:\n"), 0o600))
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			_, err := read(path)
			assert.ErrorContains(t, err, "did you mean TIMEOUT?")
			assert.ErrorContains(t, err, "URL is null")
		})
	}
}
