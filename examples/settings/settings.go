// Package settings shows how an app reads the client's settings from a YAML file,
// which this module's core does not parse: with a YAML decoder, or with viper.
package settings

import (
	"fmt"
	"os"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/postoffice-go/postoffice/core"
)

// FromYAML reads the section "postoffice" of the app's YAML file.
func FromYAML(path string) (core.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return core.Config{}, err
	}
	var file struct {
		Postoffice map[string]any `yaml:"postoffice"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return core.Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return core.SettingsFromMap(file.Postoffice)
}

// FromViper reads the same section by way of viper, which makes all keys lower
// case.
func FromViper(path string) (core.Config, error) {
	v := viper.New()
	v.SetConfigFile(path)
	if err := v.ReadInConfig(); err != nil {
		return core.Config{}, err
	}
	return core.SettingsFromMap(v.GetStringMap("postoffice"))
}
