package connect

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core"
)

// variables are the variables of [core.SettingsFromEnv], each with the field that
// it sets.
var variables = map[string]func(into, from *core.Config){
	"POSTOFFICE_URL":                 func(into, from *core.Config) { into.URL = from.URL },
	"POSTOFFICE_TOPICS":              func(into, from *core.Config) { into.Topics = from.Topics },
	"POSTOFFICE_CONSUMERS":           func(into, from *core.Config) { into.Consumers = from.Consumers },
	"POSTOFFICE_ORIGIN_HOST":         func(into, from *core.Config) { into.OriginHost = from.OriginHost },
	"POSTOFFICE_RECOVERY_PATH":       func(into, from *core.Config) { into.RecoveryPath = from.RecoveryPath },
	"POSTOFFICE_RECOVERY_ENABLED":    func(into, from *core.Config) { into.RecoveryEnabled = from.RecoveryEnabled },
	"POSTOFFICE_ALLOW_OPEN_RECOVERY": func(into, from *core.Config) { into.AllowOpenRecovery = from.AllowOpenRecovery },
	"POSTOFFICE_TIMEOUT":             func(into, from *core.Config) { into.Timeout = from.Timeout },
	"POSTOFFICE_BULK_TIMEOUT":        func(into, from *core.Config) { into.BulkTimeout = from.BulkTimeout },
	"POSTOFFICE_BULK_LIMIT":          func(into, from *core.Config) { into.BulkLimit = from.BulkLimit },
	"POSTOFFICE_POSTS_PER_TOPIC":     func(into, from *core.Config) { into.PostsPerTopic = from.PostsPerTopic },
	"POSTOFFICE_MAX_POSTS":           func(into, from *core.Config) { into.MaxPosts = from.MaxPosts },
	"POSTOFFICE_METADATA_IN_PAYLOAD": func(into, from *core.Config) { into.MetadataInPayload = from.MetadataInPayload },
	"POSTOFFICE_RELAY_RATE":          func(into, from *core.Config) { into.RelayRate = from.RelayRate },
	"POSTOFFICE_SETUP_REQUIRED":      func(into, from *core.Config) { into.SetupRequired = from.SetupRequired },
}

// Variables returns the names of the variables that set something, sorted.
func Variables() []string { return slices.Sorted(maps.Keys(variables)) }

// overrideFromEnv overrides the config with the variables that are set. It does not
// read the file that POSTOFFICE_SETTINGS names, which --settings may have replaced.
func overrideFromEnv(config *core.Config) error {
	if path, ok := os.LookupEnv(fileVariable); ok {
		if err := os.Unsetenv(fileVariable); err != nil {
			return err
		}
		defer func() { _ = os.Setenv(fileVariable, path) }() // it was valid before
	}
	environment, err := core.SettingsFromEnv()
	if err != nil {
		return err
	}
	for name, set := range variables {
		if strings.TrimSpace(os.Getenv(name)) != "" {
			set(config, &environment)
		}
	}
	return nil
}
