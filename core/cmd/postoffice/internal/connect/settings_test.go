package connect

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// load reads settings from flags, in an environment that has only the
// variables given as NAME=VALUE.
func load(t *testing.T, environment []string, arguments ...string) (core.Config, error) {
	t.Helper()
	for name := range variables {
		t.Setenv(name, "")
	}
	t.Setenv(fileVariable, "")
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	var flags Flags
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.AddServer(set)
	flags.AddBulk(set)
	flags.AddTopics(set)
	flags.AddConsumers(set)
	require.NoError(t, set.Parse(arguments))
	return flags.Load(set, &Secrets{})
}

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const everything = `{
	"URL": "http://file:1", "TOPICS": ["file"], "CONSUMERS": [{"topic": "file", "target": "http://file/hook", "timeout": 7}],
	"ORIGIN_HOST": "http://file:2", "RECOVERY_PATH": "/file/", "RECOVERY_ENABLED": true, "ALLOW_OPEN_RECOVERY": true,
	"TIMEOUT": 1, "BULK_TIMEOUT": 2, "BULK_LIMIT": 3, "SETUP_REQUIRED": true
}`

func TestPrecedence(t *testing.T) {
	file := settingsFile(t, everything)
	environment := []string{
		"POSTOFFICE_URL=http://environment:1", "POSTOFFICE_RECOVERY_ENABLED=false", "POSTOFFICE_TOPICS=a,b", "POSTOFFICE_TIMEOUT=5",
	}

	config, err := load(t, nil, "--settings", file)
	require.NoError(t, err)
	fromFile := core.Config{
		URL: "http://file:1", Topics: []string{"file"},
		Consumers:  []core.Consumer{{Topic: "file", Target: "http://file/hook", Timeout: 7 * time.Second}},
		OriginHost: "http://file:2", RecoveryPath: "/file/", RecoveryEnabled: true, AllowOpenRecovery: true,
		Timeout: time.Second, BulkTimeout: 2 * time.Second, BulkLimit: 3, SetupRequired: true,
	}
	assert.Equal(t, fromFile, config)

	config, err = load(t, environment, "--settings", file)
	require.NoError(t, err)
	overridden := fromFile
	overridden.URL, overridden.RecoveryEnabled, overridden.Topics, overridden.Timeout =
		"http://environment:1", false, []string{"a", "b"}, 5*time.Second
	assert.Equal(t, overridden, config, "the environment comes before the file, with false too")

	config, err = load(t, environment, "--settings", file, "--url", "http://flag:1", "--topic", "flag", "--timeout", "9s",
		"--consumer", "orders=http://flag/?a=b", "--recovery", "--bulk-limit", "10", "--bulk-timeout", "1m",
		"--origin-host", "flag:3", "--recovery-path", "/flag/")
	require.NoError(t, err)
	overridden.URL, overridden.Topics, overridden.Timeout, overridden.RecoveryEnabled = "http://flag:1", []string{"flag"}, 9*time.Second, true
	overridden.Consumers = []core.Consumer{{Topic: "orders", Target: "http://flag/?a=b"}}
	overridden.BulkLimit, overridden.BulkTimeout, overridden.OriginHost, overridden.RecoveryPath = 10, time.Minute, "flag:3", "/flag/"
	assert.Equal(t, overridden, config, "flags come first")

	other := settingsFile(t, `{"URL": "http://other:1"}`)
	config, err = load(t, []string{fileVariable + "=" + other})
	require.NoError(t, err)
	assert.Equal(t, core.Config{URL: "http://other:1"}, config)
	config, err = load(t, []string{fileVariable + "=" + other}, "--settings", file)
	require.NoError(t, err)
	assert.Equal(t, fromFile, config, "a flag's file replaces that of the environment")
	assert.Equal(t, other, os.Getenv(fileVariable))
}

// TestVariables compares the variables with those in the source of core.
func TestVariables(t *testing.T) {
	source, err := parser.ParseFile(token.NewFileSet(), "../../../../settings_env.go", nil, 0)
	require.NoError(t, err)
	known := 0
	ast.Inspect(source, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		name, err := strconv.Unquote(literal.Value)
		require.NoError(t, err)
		if strings.HasPrefix(name, "POSTOFFICE_") && name != "POSTOFFICE_" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" && name != fileVariable {
			assert.Contains(t, variables, name)
			known++
		}
		return true
	})
	assert.Equal(t, len(variables), known)
}

func TestFaults(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.json")
	for name, test := range map[string]struct {
		environment []string
		arguments   []string
		want        []string
	}{
		"no file":          {nil, []string{"--settings", missing}, []string{"--settings", missing}},
		"no file, by env":  {[]string{"POSTOFFICE_SETTINGS=" + missing}, nil, []string{"POSTOFFICE_SETTINGS", missing}},
		"empty file name":  {nil, []string{"--settings="}, []string{"--settings is empty"}},
		"keys of the file": {nil, []string{"--settings", settingsFile(t, `{"URI": 1, "TIMEOUT": "soon"}`)}, []string{"settings.json", `"URI"`, "did you mean URL?", "TIMEOUT must be seconds"}},
		"variables":        {[]string{"POSTOFFICE_TIMEOUT=soon", "POSTOFFICE_BULK_LIMIT=x"}, nil, []string{"POSTOFFICE_TIMEOUT must", "POSTOFFICE_BULK_LIMIT must"}},
		"consumer":         {nil, []string{"--consumer", "http://a:secret@b"}, []string{"--consumer number 1", "TOPIC=URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.environment, test.arguments...)
			require.Error(t, err)
			assert.Equal(t, exit.Usage, exit.CodeOf(t.Context(), err))
			for _, part := range test.want {
				assert.ErrorContains(t, err, part)
			}
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestFieldsAtFault uses a config with many invalid fields: the error names each field
// and where to set it.
func TestFieldsAtFault(t *testing.T) {
	_, err := NewClient(core.Config{
		URL: "ftp://user:secret@x", Topics: []string{""}, Consumers: []core.Consumer{{Topic: "a", Target: "x"}},
		OriginHost: "http://a b", RecoveryPath: "x", Timeout: -1, BulkTimeout: -1, BulkLimit: 5000, RelayRate: -1,
	})
	require.Error(t, err)
	assert.ErrorIs(t, err, core.ErrInvalidConfig)
	assert.Equal(t, exit.Usage, exit.CodeOf(t.Context(), err))
	for field, place := range places {
		if field == "RecoveryEnabled" {
			continue // any value of it is fine, below
		}
		assert.ErrorContains(t, err, "\n  "+field)
		assert.ErrorContains(t, err, "("+place+")")
	}
	assert.NotContains(t, err.Error(), "secret")

	_, err = NewClient(core.Config{URL: "http://x", RecoveryEnabled: true})
	assert.ErrorContains(t, err, "--origin-host")
	_, err = NewClient(core.Config{URL: "http://x", OriginHost: "http://app", RecoveryEnabled: true})
	assert.ErrorContains(t, err, "--origin-host")
	assert.ErrorContains(t, err, "or set POSTOFFICE_ALLOW_OPEN_RECOVERY")
}
