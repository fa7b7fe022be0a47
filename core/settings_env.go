package core

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// SettingsFromEnv reads a Config from the environment. POSTOFFICE_SETTINGS
// names a JSON file for [ParseSettings]; these variables override its keys:
//
//	POSTOFFICE_URL
//	POSTOFFICE_TOPICS                names, separated by commas
//	POSTOFFICE_CONSUMERS             JSON list, as CONSUMERS of ParseSettings
//	POSTOFFICE_ORIGIN_HOST
//	POSTOFFICE_RECOVERY_PATH
//	POSTOFFICE_RECOVERY_ENABLED      true or false
//	POSTOFFICE_ALLOW_OPEN_RECOVERY   true or false
//	POSTOFFICE_TIMEOUT               seconds, or a Go duration such as 500ms
//	POSTOFFICE_BULK_TIMEOUT          the same
//	POSTOFFICE_BULK_LIMIT
//	POSTOFFICE_POSTS_PER_TOPIC
//	POSTOFFICE_MAX_POSTS
//	POSTOFFICE_METADATA_IN_PAYLOAD   true or false
//	POSTOFFICE_RELAY_RATE            messages per second
//	POSTOFFICE_SETUP_REQUIRED        true or false
//
// An empty variable counts as not set. A variable whose name is nearly one of
// these, such as POSTOFFICE_TIMOUT, is an error, because it is probably misspelt.
// Other variables that begin with POSTOFFICE_ are ignored: in Kubernetes, a
// service named postoffice adds POSTOFFICE_PORT, POSTOFFICE_SERVICE_HOST and more
// to the environment of every container.
//
// The errors are those of ParseSettings and name the variable.
func SettingsFromEnv() (Config, error) {
	return settingsFromEnv("")
}

// SettingsFromEnvWithPrefix reads the Config of one of several clients in a
// process. It is [SettingsFromEnv] with the prefix and an underscore before the
// name of each variable: for the prefix ORDERS, these are ORDERS_POSTOFFICE_URL,
// ORDERS_POSTOFFICE_SETTINGS and so on. It does not read the variables without
// the prefix.
//
// A prefix consists of ASCII letters, digits and underscores and does not begin
// with a digit nor end with an underscore; any other prefix is an error.
func SettingsFromEnvWithPrefix(prefix string) (Config, error) {
	if !isEnvPrefix(prefix) {
		return Config{}, faults{fieldError("prefix",
			"must be letters, digits and underscores, not begin with a digit and not end with an underscore, such as ORDERS")}.err()
	}
	return settingsFromEnv(prefix + "_")
}

func isEnvPrefix(prefix string) bool {
	for _, r := range prefix {
		if r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return prefix != "" && (prefix[0] < '0' || prefix[0] > '9') && !strings.HasSuffix(prefix, "_")
}

// settingsFromEnv reads variables whose names begin with the prefix.
func settingsFromEnv(prefix string) (Config, error) {
	var config Config
	var bad faults
	file := prefix + settingsVariable
	if path := strings.TrimSpace(os.Getenv(file)); path != "" {
		var err error
		if config, err = settingsFromFile(file, path); err != nil {
			return Config{}, err
		}
	}
	variables := envVariables()
	for _, variable := range variables {
		name := prefix + variable.name
		if text := strings.TrimSpace(os.Getenv(name)); text != "" {
			variable.set(&config, settingValue{field: name, bad: &bad}, text)
		}
	}
	findMisspelt(prefix, variables, &bad)
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// settingsVariable names the settings file.
const settingsVariable = "POSTOFFICE_SETTINGS"

// settingsFromFile reads the file that a variable names.
func settingsFromFile(variable, path string) (Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return Config{}, faults{fieldError(variable, "cannot be read: %w", err)}.err()
	}
	defer func() { _ = file.Close() }() // it was only read
	var bad faults
	config := parseSettings(file, &bad)
	if len(bad) > 0 {
		return Config{}, fmt.Errorf("%w: %s=%s: %w", ErrInvalidConfig, variable, path, errors.Join(bad...))
	}
	return config, nil
}

// findMisspelt reports variables whose names are nearly known ones: at most two
// letters and a third of the name differ, ignoring case and underscores.
func findMisspelt(prefix string, variables []envVariable, bad *faults) {
	const common = "POSTOFFICE_"
	names := []string{settingsVariable}
	for _, variable := range variables {
		names = append(names, variable.name)
	}
	environment := os.Environ()
	slices.Sort(environment)
	for _, setting := range environment {
		name, value, _ := strings.Cut(setting, "=")
		if runtime.GOOS == "windows" {
			name, prefix = strings.ToUpper(name), strings.ToUpper(prefix) // names have no case there
		}
		rest, ours := strings.CutPrefix(name, prefix)
		if !ours || !strings.HasPrefix(rest, common) || strings.TrimSpace(value) == "" || slices.Contains(names, rest) {
			continue
		}
		if strings.HasSuffix(name, "_PORT") {
			continue // of a service in Kubernetes, such as postoffice-max
		}
		folded := foldKey(strings.TrimPrefix(rest, common))
		for _, known := range names {
			meant := foldKey(strings.TrimPrefix(known, common))
			if editDistance(folded, meant) <= min(2, len(meant)/3) {
				bad.add(fieldError(name, "is not a variable of this client; did you mean %s?", prefix+known))
				break
			}
		}
	}
}

// envVariable is an environment variable and the field that it sets.
type envVariable struct {
	name string
	set  func(c *Config, v settingValue, text string)
}

func envVariables() []envVariable {
	return []envVariable{
		{"POSTOFFICE_URL", func(c *Config, _ settingValue, text string) { c.URL = text }},
		{"POSTOFFICE_TOPICS", func(c *Config, _ settingValue, text string) {
			c.Topics = nil
			for name := range strings.SplitSeq(text, ",") {
				if name = strings.TrimSpace(name); name != "" {
					c.Topics = append(c.Topics, name)
				}
			}
		}},
		{"POSTOFFICE_CONSUMERS", func(c *Config, v settingValue, text string) {
			if raw, ok := checkJSON(v.field, []byte(text), v.bad); ok {
				v.raw = raw
				v.consumers(&c.Consumers)
			}
		}},
		{"POSTOFFICE_ORIGIN_HOST", func(c *Config, _ settingValue, text string) { c.OriginHost = text }},
		{"POSTOFFICE_RECOVERY_PATH", func(c *Config, _ settingValue, text string) { c.RecoveryPath = text }},
		{"POSTOFFICE_RECOVERY_ENABLED", func(c *Config, v settingValue, text string) { v.boolText(text, &c.RecoveryEnabled) }},
		{"POSTOFFICE_ALLOW_OPEN_RECOVERY", func(c *Config, v settingValue, text string) { v.boolText(text, &c.AllowOpenRecovery) }},
		{"POSTOFFICE_TIMEOUT", func(c *Config, v settingValue, text string) { v.secondsText(text, &c.Timeout) }},
		{"POSTOFFICE_BULK_TIMEOUT", func(c *Config, v settingValue, text string) { v.secondsText(text, &c.BulkTimeout) }},
		{"POSTOFFICE_BULK_LIMIT", func(c *Config, v settingValue, text string) { v.integerText(text, &c.BulkLimit) }},
		{"POSTOFFICE_POSTS_PER_TOPIC", func(c *Config, v settingValue, text string) { v.integerText(text, &c.PostsPerTopic) }},
		{"POSTOFFICE_MAX_POSTS", func(c *Config, v settingValue, text string) { v.integerText(text, &c.MaxPosts) }},
		{"POSTOFFICE_METADATA_IN_PAYLOAD", func(c *Config, v settingValue, text string) { v.boolText(text, &c.MetadataInPayload) }},
		{"POSTOFFICE_RELAY_RATE", func(c *Config, v settingValue, text string) { v.integerText(text, &c.RelayRate) }},
		{"POSTOFFICE_SETUP_REQUIRED", func(c *Config, v settingValue, text string) { v.boolText(text, &c.SetupRequired) }},
	}
}
