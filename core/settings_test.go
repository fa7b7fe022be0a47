package core_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

func ExampleParseSettings() {
	config, err := core.ParseSettings(strings.NewReader(`{
		"URL": "http://postoffice:4000",
		"TOPICS": ["orders"],
		"ORIGIN_HOST": "http://user:secret@shop:8080",
		"RECOVERY_ENABLED": true,
		"TIMEOUT": 0.3,
		"CONSUMERS": [{"topic": "payments", "target": "http://shop:8080/payments", "type": "http", "timeout": 10}]
	}`))
	fmt.Println(err)
	fmt.Println(config.Topics, config.Timeout, config.Consumers[0].Timeout)

	_, err = core.ParseSettings(strings.NewReader(`{"URL": "http://postoffice:4000", "TIMOUT": 0.3}`))
	fmt.Println(err)
	// Output:
	// <nil>
	// [orders] 300ms 10s
	// postoffice: invalid configuration: settings has the unknown key "TIMOUT"; did you mean TIMEOUT?
}

const allSettings = `{
	"URL": "http://us:pw@po", "TOPICS": ["a", "b"], "ORIGIN_HOST": "app", "RECOVERY_PATH": "/r/",
	"RECOVERY_ENABLED": true, "ALLOW_OPEN_RECOVERY": true, "METADATA_IN_PAYLOAD": true, "SETUP_REQUIRED": true,
	"TIMEOUT": 0.3, "BULK_TIMEOUT": "500ms", "BULK_LIMIT": 100, "POSTS_PER_TOPIC": -1, "MAX_POSTS": 7, "RELAY_RATE": 200,
	"CONSUMERS": [
		{"topic": "a", "target": "http://app/a", "type": "http", "from_now": true, "timeout": "10", "retry": 60},
		{"topic": "b", "target": "b", "type": "pubsub", "from_now": false, "chunk_size": 20, "paused": true}
	]
}`

func allConfig() core.Config {
	return core.Config{
		URL: "http://us:pw@po", Topics: []string{"a", "b"}, OriginHost: "app", RecoveryPath: "/r/",
		RecoveryEnabled: true, AllowOpenRecovery: true, MetadataInPayload: true, SetupRequired: true,
		Timeout: 300 * time.Millisecond, BulkTimeout: 500 * time.Millisecond, BulkLimit: 100, PostsPerTopic: -1, MaxPosts: 7, RelayRate: 200,
		Consumers: []core.Consumer{
			{Topic: "a", Target: "http://app/a", Type: core.HTTP, FromNow: true, Timeout: 10 * time.Second, Retry: time.Minute},
			{Topic: "b", Target: "b", Type: core.PubSub, ChunkSize: 20, Paused: true},
		},
	}
}

func TestParseSettingsReadsEveryKey(t *testing.T) {
	config, err := core.ParseSettings(strings.NewReader(allSettings))
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)

	config, err = core.ParseSettings(strings.NewReader(" {}\n"))
	require.NoError(t, err)
	assert.Equal(t, core.Config{}, config)
}

func TestParseSettingsReadsKeysInAnyCase(t *testing.T) {
	for _, convert := range []func(string) string{strings.ToLower, strings.ToUpper, func(key string) string { return key[:2] + strings.ToLower(key[2:]) }} {
		text := regexp.MustCompile(`"\w+":`).ReplaceAllStringFunc(allSettings, convert)
		require.NotEqual(t, allSettings, text)
		config, err := core.ParseSettings(strings.NewReader(text))
		require.NoError(t, err)
		assert.Equal(t, allConfig(), config)
	}
}

func TestParseSettingsSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`0`: 0, `-0`: 0, `0.0e5`: 0, `5`: 5 * time.Second, `0.1`: 100 * time.Millisecond, `1e-9`: time.Nanosecond,
		`1.5E1`: 15 * time.Second, `9223372036`: 9223372036 * time.Second,
		`"0.5"`: 500 * time.Millisecond, `" 2 "`: 2 * time.Second, `"+3"`: 3 * time.Second,
		`"500ms"`: 500 * time.Millisecond, `"1m30s"`: 90 * time.Second, `"0s"`: 0,
	} {
		t.Run(text, func(t *testing.T) {
			config, err := core.ParseSettings(strings.NewReader(`{"TIMEOUT":` + text + `}`))
			require.NoError(t, err)
			assert.Equal(t, want, config.Timeout)
		})
	}
}

func TestParseSettingsFaults(t *testing.T) {
	for name, test := range map[string]struct{ text, field, problem string }{
		"empty":                {"", "settings", "is empty"},
		"blank":                {" \n", "settings", "is empty"},
		"null":                 {"null", "settings", "is null"},
		"list":                 {"[]", "settings", "must be an object, not a list"},
		"string":               {`"x"`, "settings", "must be an object, not a string"},
		"number":               {`1`, "settings", "must be an object, not a number"},
		"boolean":              {`true`, "settings", "must be an object, not a boolean"},
		"cut off":              {`{"URL": "SECRET`, "settings", "ends too early"},
		"syntax":               {"{\n\"URL\": SECRET}", "settings", "is not valid JSON at byte 10, line 2"},
		"comma at the end":     {`{"URL": "SECRET",}`, "settings", "is not valid JSON at byte 18, line 1"},
		"rest":                 {`{} {"URL":"SECRET"}`, "settings", "something after the end of its JSON, at byte 3"},
		"rest not JSON":        {`{}SECRET`, "settings", "something after the end of its JSON, at byte 3"},
		"byte order mark":      {"\ufeff{}", "settings", "byte order mark"},
		"not UTF-8":            {"{\"URL\": \"SECRET\xff\"}", "settings", "is not valid UTF-8"},
		"too large":            {`{"URL": "` + strings.Repeat("x", 1<<20) + `"}`, "settings", "more than 1048576 bytes"},
		"key unknown":          {`{"TIMOUT": 1}`, "settings", `unknown key "TIMOUT"; did you mean TIMEOUT?`},
		"key in camel case":    {`{"bulkTimeout": 1}`, "settings", `unknown key "bulkTimeout"; did you mean BULK_TIMEOUT?`},
		"key far off":          {`{"LOGGING": 1}`, "settings", `unknown key "LOGGING"; the keys are URL, TOPICS, `},
		"key empty":            {`{"": 1}`, "settings", `unknown key ""; `},
		"key that is a URL":    {`{"http://us:SECRET@po": 1}`, "settings", "unknown key (not shown)"},
		"key long":             {`{"` + strings.Repeat("x", 99) + `": 1}`, "settings", "unknown key (not shown); the keys are"},
		"key twice":            {`{"URL": "SECRET", "URL": "SECRET"}`, "URL", "is given twice"},
		"key in two cases":     {`{"URL": "SECRET", "Url": "SECRET"}`, "URL", "is given twice, as URL and as Url"},
		"key escaped, twice":   {`{"URL": "SECRET", "\u0055RL": "SECRET"}`, "URL", "is given twice"},
		"url null":             {`{"URL": null}`, "URL", "is null; it must be a string, or left out"},
		"url list":             {`{"URL": ["SECRET"]}`, "URL", "must be a string, not a list"},
		"url number":           {`{"URL": 5}`, "URL", "must be a string, not a number"},
		"topics string":        {`{"TOPICS": "SECRET"}`, "TOPICS", "must be a list, not a string"},
		"topics element":       {`{"TOPICS": ["a", {"SECRET": 1}]}`, "TOPICS[1]", "must be a string, not an object"},
		"topics null":          {`{"TOPICS": [null]}`, "TOPICS[0]", "is null"},
		"enabled string":       {`{"RECOVERY_ENABLED": "true"}`, "RECOVERY_ENABLED", "must be true or false, not a string"},
		"enabled number":       {`{"RECOVERY_ENABLED": 1}`, "RECOVERY_ENABLED", "must be true or false, not a number"},
		"limit string":         {`{"BULK_LIMIT": "5"}`, "BULK_LIMIT", "must be a whole number, not a string"},
		"limit fraction":       {`{"BULK_LIMIT": 5.5}`, "BULK_LIMIT", "must be a whole number"},
		"limit exponent":       {`{"BULK_LIMIT": 1e2}`, "BULK_LIMIT", "must be a whole number"},
		"limit too large":      {`{"BULK_LIMIT": 99999999999999999999}`, "BULK_LIMIT", "is out of range"},
		"seconds null":         {`{"TIMEOUT": null}`, "TIMEOUT", "is null"},
		"seconds boolean":      {`{"TIMEOUT": true}`, "TIMEOUT", "must be a number of seconds, not a boolean"},
		"seconds text":         {`{"TIMEOUT": "SECRET"}`, "TIMEOUT", "must be seconds"},
		"seconds empty":        {`{"TIMEOUT": ""}`, "TIMEOUT", "must be seconds"},
		"seconds NaN":          {`{"TIMEOUT": "NaN"}`, "TIMEOUT", "must be seconds"},
		"seconds infinite":     {`{"TIMEOUT": "Inf"}`, "TIMEOUT", "must be seconds"},
		"seconds hexadecimal":  {`{"TIMEOUT": "0x1p4"}`, "TIMEOUT", "must be seconds"},
		"seconds signs":        {`{"TIMEOUT": "1-2"}`, "TIMEOUT", "must be seconds"},
		"seconds negative":     {`{"TIMEOUT": -0.5}`, "TIMEOUT", "is negative"},
		"duration negative":    {`{"TIMEOUT": "-5ms"}`, "TIMEOUT", "is negative"},
		"seconds too many":     {`{"TIMEOUT": 9223372037}`, "TIMEOUT", "is out of range"},
		"seconds one too many": {`{"TIMEOUT": 9223372036.854775808}`, "TIMEOUT", "is out of range"},
		"seconds over range":   {`{"TIMEOUT": 1e400}`, "TIMEOUT", "is out of range"},
		"seconds below range":  {`{"TIMEOUT": -1e400}`, "TIMEOUT", "is negative"},
		"seconds tiny":         {`{"TIMEOUT": 1e-10}`, "TIMEOUT", "is less than a nanosecond"},
		"seconds vanishing":    {`{"TIMEOUT": 1e-400}`, "TIMEOUT", "is less than a nanosecond"},
		"duration overflow":    {`{"TIMEOUT": "9999999h"}`, "TIMEOUT", "must be seconds"},
		"consumers object":     {`{"CONSUMERS": {"topic": "SECRET"}}`, "CONSUMERS", "must be a list, not an object"},
		"consumer string":      {`{"CONSUMERS": ["SECRET"]}`, "CONSUMERS[0]", "must be an object, not a string"},
		"consumer key":         {`{"CONSUMERS": [{}, {"tagret": "SECRET"}]}`, "CONSUMERS[1]", `unknown key "tagret"; did you mean target?`},
		"consumer key twice":   {`{"CONSUMERS": [{"target": "SECRET", "target": ""}]}`, "CONSUMERS[0].target", "is given twice"},
		"consumer timeout":     {`{"CONSUMERS": [{"timeout": "x"}]}`, "CONSUMERS[0].timeout", "must be seconds"},
		"consumer chunk":       {`{"CONSUMERS": [{"chunk_size": "x"}]}`, "CONSUMERS[0].chunk_size", "must be a whole number, not a string"},
		"consumer type":        {`{"CONSUMERS": [{"type": 1}]}`, "CONSUMERS[0].type", "must be a string, not a number"},
		"consumer paused":      {`{"CONSUMERS": [{"paused": []}]}`, "CONSUMERS[0].paused", "must be true or false, not a list"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := core.ParseSettings(strings.NewReader(test.text))
			assert.Equal(t, core.Config{}, config)
			found := faultsOf(t, err)
			assert.Contains(t, found[test.field], test.problem, "%v", found)
			assert.Len(t, found, 1)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestParseSettingsTellsAllFaults(t *testing.T) {
	_, err := core.ParseSettings(strings.NewReader(`{"URL": 1, "TOPICS": [1, 2], "CONSUMERS": [{"topic": 1}], "NO": 1}`))
	assert.Len(t, faultsOf(t, err), 5)
}

func TestParseSettingsPassesReadErrorsOn(t *testing.T) {
	broken := errors.New("broken pipe")
	_, err := core.ParseSettings(iotest.ErrReader(broken))
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, "cannot be read: broken pipe", faultsOf(t, err)["settings"])
}

// clearEnv unsets what the variables of the tests' own environment say.
func clearEnv(t *testing.T) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "POSTOFFICE_") {
			t.Setenv(name, "")
		}
	}
}

func TestSettingsFromEnv(t *testing.T) {
	clearEnv(t)
	config, err := core.SettingsFromEnv()
	require.NoError(t, err)
	assert.Equal(t, core.Config{}, config)

	for name, value := range map[string]string{
		"URL": " http://us:pw@po\n", "TOPICS": " a, b,,", "ORIGIN_HOST": "app", "RECOVERY_PATH": "/r/",
		"RECOVERY_ENABLED": "true", "ALLOW_OPEN_RECOVERY": "1", "METADATA_IN_PAYLOAD": "t", "SETUP_REQUIRED": "TRUE",
		"TIMEOUT": "0.3", "BULK_TIMEOUT": "500ms", "BULK_LIMIT": "100", "POSTS_PER_TOPIC": "-1", "MAX_POSTS": "7", "RELAY_RATE": "200",
		"CONSUMERS": `[
			{"topic": "a", "target": "http://app/a", "type": "http", "from_now": true, "timeout": 10, "retry": 60},
			{"topic": "b", "target": "b", "type": "pubsub", "chunk_size": 20, "paused": true}]`,
		// What Kubernetes sets for a service of this name.
		"PORT": "tcp://10.0.0.1:80", "SERVICE_HOST": "10.0.0.1",
	} {
		t.Setenv("POSTOFFICE_"+name, value)
	}
	config, err = core.SettingsFromEnv()
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)
}

func TestSettingsFromEnvOverridesTheFile(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(path, []byte(allSettings), 0o600))
	t.Setenv("POSTOFFICE_SETTINGS", path)
	config, err := core.SettingsFromEnv()
	require.NoError(t, err)
	assert.Equal(t, allConfig(), config)

	t.Setenv("POSTOFFICE_URL", "http://other")
	t.Setenv("POSTOFFICE_TOPICS", ",")
	t.Setenv("POSTOFFICE_CONSUMERS", "[]")
	t.Setenv("POSTOFFICE_SETUP_REQUIRED", "false")
	want := allConfig()
	want.URL, want.Topics, want.Consumers, want.SetupRequired = "http://other", nil, nil, false
	config, err = core.SettingsFromEnv()
	require.NoError(t, err)
	assert.Equal(t, want, config)
}

func TestSettingsFromEnvFaults(t *testing.T) {
	for variable, test := range map[string]struct{ value, field, problem string }{
		"POSTOFFICE_CONSUMERS":           {`[{"target": "http://us:SECRET@me", "x": 1}]`, "POSTOFFICE_CONSUMERS[0]", `unknown key "x"`},
		"POSTOFFICE_RECOVERY_ENABLED":    {"SECRET", "", "must be true or false"},
		"POSTOFFICE_ALLOW_OPEN_RECOVERY": {"yes", "", "must be true or false"},
		"POSTOFFICE_METADATA_IN_PAYLOAD": {"on", "", "must be true or false"},
		"POSTOFFICE_SETUP_REQUIRED":      {"2", "", "must be true or false"},
		"POSTOFFICE_TIMEOUT":             {"SECRET", "", "must be seconds"},
		"POSTOFFICE_BULK_TIMEOUT":        {"-1", "", "is negative"},
		"POSTOFFICE_BULK_LIMIT":          {"SECRET", "", "must be a whole number"},
		"POSTOFFICE_SETTINGS":            {"no/such/file", "", "cannot be read"},
	} {
		t.Run(variable, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(variable, test.value)
			config, err := core.SettingsFromEnv()
			assert.Equal(t, core.Config{}, config)
			if test.field == "" {
				test.field = variable
			}
			assert.Contains(t, faultsOf(t, err)[test.field], test.problem)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}

	t.Run("JSON", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("POSTOFFICE_CONSUMERS", "SECRET")
		_, err := core.SettingsFromEnv()
		assert.Contains(t, faultsOf(t, err)["POSTOFFICE_CONSUMERS"], "is not valid JSON")
		assert.NotContains(t, err.Error(), "SECRET")
	})
	t.Run("file", func(t *testing.T) {
		clearEnv(t)
		path := filepath.Join(t.TempDir(), "settings.json")
		require.NoError(t, os.WriteFile(path, []byte(`{"URL": ["SECRET"]}`), 0o600))
		t.Setenv("POSTOFFICE_SETTINGS", path)
		_, err := core.SettingsFromEnv()
		assert.Contains(t, faultsOf(t, err), "URL")
		assert.Contains(t, err.Error(), path)
		assert.NotContains(t, err.Error(), "SECRET")
	})
	t.Run("missing file", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("POSTOFFICE_SETTINGS", filepath.Join(t.TempDir(), "none"))
		_, err := core.SettingsFromEnv()
		assert.ErrorIs(t, err, os.ErrNotExist)
	})
}

func TestSettingsFromEnvNamesMisspeltVariables(t *testing.T) {
	for name, meant := range map[string]string{
		"POSTOFFICE_TIMOUT": "POSTOFFICE_TIMEOUT", "POSTOFFICE_BULKTIMEOUT": "POSTOFFICE_BULK_TIMEOUT", "POSTOFFICE_TOPIC": "POSTOFFICE_TOPICS",
		"POSTOFFICE_SETTING": "POSTOFFICE_SETTINGS", "POSTOFFICE_URI": "POSTOFFICE_URL",
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(name, "SECRET")
			_, err := core.SettingsFromEnv()
			assert.Equal(t, map[string]string{name: "is not a variable of this client; did you mean " + meant + "?"}, faultsOf(t, err))
			assert.NotContains(t, err.Error(), "SECRET")
			t.Setenv(name, "")
			_, err = core.SettingsFromEnv()
			require.NoError(t, err, "an empty variable is not set")
			t.Setenv("ORDERS_"+name, "SECRET")
			_, err = core.SettingsFromEnv()
			require.NoError(t, err, "it is that of another client")
		})
	}
	t.Run("others", func(t *testing.T) {
		clearEnv(t)
		for _, name := range []string{"PORT_80_TCP", "PORT", "SERVICE_PORT_HTTP", "MAX_PORT", "OUTBOX", "INBOX", "CI", "HOST", "UID"} {
			t.Setenv("POSTOFFICE_"+name, "x")
		}
		_, err := core.SettingsFromEnv()
		require.NoError(t, err)
	})
}

func TestSettingsFromEnvWithPrefix(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"URL": "http://file", "TIMEOUT": 3}`), 0o600))
	t.Setenv("POSTOFFICE_URL", "http://first")
	t.Setenv("POSTOFFICE_BULK_LIMIT", "SECRET")
	t.Setenv("ORDERS_POSTOFFICE_SETTINGS", path)
	t.Setenv("ORDERS_POSTOFFICE_URL", "http://second")
	t.Setenv("ORDERS_POSTOFFICE_TOPICS", "a,b")
	config, err := core.SettingsFromEnvWithPrefix("ORDERS")
	require.NoError(t, err)
	assert.Equal(t, core.Config{URL: "http://second", Topics: []string{"a", "b"}, Timeout: 3 * time.Second}, config)

	t.Setenv("ORDERS_POSTOFFICE_BULK_LIMIT", "x")
	t.Setenv("ORDERS_POSTOFFICE_TIMOUT", "1")
	_, err = core.SettingsFromEnvWithPrefix("ORDERS")
	assert.Equal(t, map[string]string{
		"ORDERS_POSTOFFICE_BULK_LIMIT": "must be a whole number",
		"ORDERS_POSTOFFICE_TIMOUT":     "is not a variable of this client; did you mean ORDERS_POSTOFFICE_TIMEOUT?",
	}, faultsOf(t, err))
	t.Setenv("ORDERS_POSTOFFICE_SETTINGS", filepath.Join(t.TempDir(), "missing"))
	_, err = core.SettingsFromEnvWithPrefix("ORDERS")
	assert.Contains(t, faultsOf(t, err)["ORDERS_POSTOFFICE_SETTINGS"], "cannot be read")

	for _, prefix := range []string{"", "_", "ORDERS_", "1ORDERS", "ORDERS=", "ÖRDERS", "OR DERS"} {
		_, err := core.SettingsFromEnvWithPrefix(prefix)
		assert.Contains(t, faultsOf(t, err)["prefix"], "must be letters, digits and underscores", prefix)
	}
}

func FuzzParseSettings(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", `{"URL":"x","URL":"y"}`, `{"TIMEOUT":1e999}`, `{"TIMEOUT":"1h"}`, `{"CONSUMERS":[{"timeout":-1}]}`,
		`{"BULK_LIMIT":5}x`, `{"TOPICS":[null,"\ud800"]}`, allSettings,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := core.ParseSettings(strings.NewReader(string(text)))
		if err != nil {
			assert.Equal(t, core.Config{}, config)
			assert.NotEmpty(t, faultsOf(t, err))
			return
		}
		assert.GreaterOrEqual(t, config.Timeout, time.Duration(0))
		assert.GreaterOrEqual(t, config.BulkTimeout, time.Duration(0))
		for _, consumer := range config.Consumers {
			assert.GreaterOrEqual(t, consumer.Timeout, time.Duration(0))
			assert.GreaterOrEqual(t, consumer.Retry, time.Duration(0))
		}
	})
}

func TestParseSettingsNamesANilReader(t *testing.T) {
	for _, r := range []io.Reader{nil, (*os.File)(nil)} {
		_, err := core.ParseSettings(r)
		require.ErrorIs(t, err, core.ErrInvalidConfig)
		require.ErrorContains(t, err, "reader is nil")
	}
}
