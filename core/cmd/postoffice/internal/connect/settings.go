package connect

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// fileVariable names the settings file, unless a flag does.
const fileVariable = "POSTOFFICE_SETTINGS"

// Flags are the flags that set something, with their values.
type Flags struct {
	file         string
	url          string
	timeout      time.Duration
	bulkTimeout  time.Duration
	bulkLimit    int
	originHost   string
	recoveryPath string
	recovery     bool
	topics       []string
	consumers    []string
}

// AddServer adds the flags of every command that uses the server.
func (f *Flags) AddServer(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "settings", "", "settings `file`: JSON with the keys URL, TOPICS, CONSUMERS, … (or POSTOFFICE_SETTINGS)")
	flags.StringVar(&f.url, "url", "", "`address` of the server, such as http://postoffice:4000 (or POSTOFFICE_URL)")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long a request for one message or resource may take, and 2s more for each MB (default 500ms)")
}

// AddBulk adds the flags of commands that publish.
func (f *Flags) AddBulk(flags *pflag.FlagSet) {
	flags.DurationVar(&f.bulkTimeout, "bulk-timeout", 0, "how long a request for many messages may take, and 2s more for each MB (default 5s)")
	flags.IntVar(&f.bulkLimit, "bulk-limit", 0, "how many messages go into one request, at most 3000 (default 500)")
}

// AddTopics adds the flags of commands that create topics.
func (f *Flags) AddTopics(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.topics, "topic", nil, "`name` of a topic to create; may be repeated, and replaces the topics of the settings")
	flags.StringVar(&f.originHost, "origin-host", "", "the app as the server reaches it, such as http://user:password@orders:8080 (or POSTOFFICE_ORIGIN_HOST)")
	flags.StringVar(&f.recoveryPath, "recovery-path", "", "path of the app's recovery endpoint (default \""+core.DefaultRecoveryPath+"\")")
	flags.BoolVar(&f.recovery, "recovery", false, "ask the server to fetch undelivered messages of new topics from the app")
}

// AddConsumers adds the flags of commands that register consumers.
func (f *Flags) AddConsumers(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.consumers, "consumer", nil,
		"HTTP consumer to register, as `TOPIC=URL`; may be repeated, and replaces the consumers of the settings")
}

// Load reads the settings: flags override the environment, which overrides the
// file. It adds their passwords to secrets. core.NewClient validates the settings.
func (f *Flags) Load(flags *pflag.FlagSet, secrets *Secrets) (core.Config, error) {
	config, err := f.loadFile(flags)
	if err != nil {
		return core.Config{}, explain(err)
	}
	if err := overrideFromEnv(&config); err != nil {
		return core.Config{}, explain(err)
	}
	if err := f.override(flags, &config); err != nil {
		return core.Config{}, err
	}
	secrets.AddURL(config.URL)
	secrets.AddURL(config.OriginHost)
	for _, consumer := range config.Consumers {
		secrets.AddURL(consumer.Target)
	}
	return config, nil
}

// NewClient returns a client. The error names the flag, variable and key of each
// invalid field.
func NewClient(config core.Config) (*core.Client, error) {
	client, err := core.NewClient(config)
	if err != nil {
		return nil, explain(err)
	}
	return client, nil
}

// loadFile reads the settings file that a flag or the environment names.
func (f *Flags) loadFile(flags *pflag.FlagSet) (core.Config, error) {
	path, from := strings.TrimSpace(os.Getenv(fileVariable)), fileVariable
	if flags.Changed("settings") {
		path, from = f.file, "--settings"
		if path == "" {
			return core.Config{}, errors.New("--settings is empty: it names a file")
		}
	}
	if path == "" {
		return core.Config{}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return core.Config{}, fmt.Errorf("%s: %w", from, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	config, err := core.ParseSettings(file)
	if err != nil {
		return core.Config{}, &fileError{path: path, err: err}
	}
	return config, nil
}

// fileError is the error of a settings file.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.path + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// override overrides the config with the flags that were given.
func (f *Flags) override(flags *pflag.FlagSet, config *core.Config) error {
	for name, set := range map[string]func(){
		"url":           func() { config.URL = f.url },
		"timeout":       func() { config.Timeout = f.timeout },
		"bulk-timeout":  func() { config.BulkTimeout = f.bulkTimeout },
		"bulk-limit":    func() { config.BulkLimit = f.bulkLimit },
		"origin-host":   func() { config.OriginHost = f.originHost },
		"recovery-path": func() { config.RecoveryPath = f.recoveryPath },
		"recovery":      func() { config.RecoveryEnabled = f.recovery },
		"topic":         func() { config.Topics = f.topics },
	} {
		if flags.Changed(name) {
			set()
		}
	}
	if !flags.Changed("consumer") {
		return nil
	}
	config.Consumers = nil
	for i, text := range f.consumers {
		topic, target, ok := strings.Cut(text, "=")
		if !ok {
			return exit.Usagef("--consumer number %d must be TOPIC=URL; a settings file can set more of a consumer", i+1)
		}
		config.Consumers = append(config.Consumers, core.Consumer{Topic: topic, Target: target})
	}
	return nil
}
