package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// maxSettingsBytes bounds what ParseSettings reads.
const maxSettingsBytes = 1 << 20

// ParseSettings reads a Config from a JSON object with the keys of the Django
// client's settings, so that a service can reuse its settings unchanged:
//
//	URL, TOPICS, ORIGIN_HOST, RECOVERY_ENABLED
//	TIMEOUT, BULK_TIMEOUT    seconds, for small messages; see Config.Timeout
//	CONSUMERS                list of objects: topic, target, type, from_now,
//	                         timeout and retry in seconds
//
// This client adds RECOVERY_PATH, ALLOW_OPEN_RECOVERY, BULK_LIMIT,
// POSTS_PER_TOPIC, MAX_POSTS, RELAY_RATE, METADATA_IN_PAYLOAD and SETUP_REQUIRED,
// and chunk_size and paused for a consumer. Keys are accepted in any case.
//
// Seconds are numbers or strings, such as 0.5 or "0.5"; Go durations such as
// "500ms" are accepted, too. A missing key leaves its field zero, which means
// the default. An unknown key, a key given twice, also in different cases, null,
// a value of the wrong type and input of more than 1 MiB are errors.
//
// The error is [ErrInvalidConfig] and wraps a [*FieldError] for each invalid
// key; it contains no values. ParseSettings does not validate the Config, for
// example whether its URL is valid; [NewClient] does.
//
// For YAML, TOML and configuration libraries, see [SettingsFromMap].
func ParseSettings(r io.Reader) (Config, error) {
	var bad faults
	config := parseSettings(r, &bad)
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// settingKey is a key of a settings object and the field that it sets in a T.
type settingKey[T any] struct {
	name string
	set  func(*T, settingValue)
}

func configKeys() []settingKey[Config] {
	return []settingKey[Config]{
		{"URL", func(c *Config, v settingValue) { v.text(&c.URL) }},
		{"TOPICS", func(c *Config, v settingValue) { v.texts(&c.Topics) }},
		{"CONSUMERS", func(c *Config, v settingValue) { v.consumers(&c.Consumers) }},
		{"ORIGIN_HOST", func(c *Config, v settingValue) { v.text(&c.OriginHost) }},
		{"RECOVERY_PATH", func(c *Config, v settingValue) { v.text(&c.RecoveryPath) }},
		{"RECOVERY_ENABLED", func(c *Config, v settingValue) { v.bool(&c.RecoveryEnabled) }},
		{"ALLOW_OPEN_RECOVERY", func(c *Config, v settingValue) { v.bool(&c.AllowOpenRecovery) }},
		{"TIMEOUT", func(c *Config, v settingValue) { v.seconds(&c.Timeout) }},
		{"BULK_TIMEOUT", func(c *Config, v settingValue) { v.seconds(&c.BulkTimeout) }},
		{"BULK_LIMIT", func(c *Config, v settingValue) { v.integer(&c.BulkLimit) }},
		{"POSTS_PER_TOPIC", func(c *Config, v settingValue) { v.integer(&c.PostsPerTopic) }},
		{"RELAY_RATE", func(c *Config, v settingValue) { v.integer(&c.RelayRate) }},
		{"MAX_POSTS", func(c *Config, v settingValue) { v.integer(&c.MaxPosts) }},
		{"METADATA_IN_PAYLOAD", func(c *Config, v settingValue) { v.bool(&c.MetadataInPayload) }},
		{"SETUP_REQUIRED", func(c *Config, v settingValue) { v.bool(&c.SetupRequired) }},
	}
}

func consumerKeys() []settingKey[Consumer] {
	return []settingKey[Consumer]{
		{"topic", func(c *Consumer, v settingValue) { v.text(&c.Topic) }},
		{"target", func(c *Consumer, v settingValue) { v.text(&c.Target) }},
		{"type", func(c *Consumer, v settingValue) { v.text((*string)(&c.Type)) }},
		{"from_now", func(c *Consumer, v settingValue) { v.bool(&c.FromNow) }},
		{"timeout", func(c *Consumer, v settingValue) { v.seconds(&c.Timeout) }},
		{"retry", func(c *Consumer, v settingValue) { v.seconds(&c.Retry) }},
		{"chunk_size", func(c *Consumer, v settingValue) { v.integer(&c.ChunkSize) }},
		{"paused", func(c *Consumer, v settingValue) { v.bool(&c.Paused) }},
	}
}

func parseSettings(r io.Reader, bad *faults) (config Config) {
	const field = "settings"
	if typednil.Is(r) {
		bad.add(fieldError(field, "cannot be read: the reader is nil"))
		return config
	}
	data, err := io.ReadAll(io.LimitReader(r, maxSettingsBytes+1))
	if err != nil {
		bad.add(fieldError(field, "cannot be read: %w", err))
		return config
	}
	if len(data) > maxSettingsBytes {
		bad.add(fieldError(field, "has more than %d bytes", maxSettingsBytes))
		return config
	}
	if raw, ok := checkJSON(field, data, bad); ok {
		setKeys(settingValue{field: field, raw: raw, bad: bad}, "", &config, configKeys())
	}
	return config
}

// checkJSON returns the text without surrounding white space if it is one JSON
// value.
func checkJSON(field string, text []byte, bad *faults) (json.RawMessage, bool) {
	trimmed := bytes.Trim(text, " \t\r\n")
	switch {
	case len(trimmed) == 0:
		bad.add(fieldError(field, "is empty; it must hold JSON"))
		return nil, false
	case bytes.HasPrefix(trimmed, []byte("\ufeff")):
		bad.add(fieldError(field, "begins with a byte order mark, which JSON does not have"))
		return nil, false
	case !utf8.Valid(trimmed):
		bad.add(fieldError(field, "is not valid UTF-8"))
		return nil, false
	}
	// Syntax errors quote a character of the input, so only their position is
	// reported.
	var raw json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&raw); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line := 1 + bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n"))
			bad.add(fieldError(field, "is not valid JSON at byte %d, line %d", syntax.Offset, line))
		} else {
			bad.add(fieldError(field, "is not valid JSON: it ends too early"))
		}
		return nil, false
	}
	if end := int(decoder.InputOffset()); len(bytes.Trim(text[end:], " \t\r\n")) > 0 {
		bad.add(fieldError(field, "has something after the end of its JSON, at byte %d", end+1))
		return nil, false
	}
	return trimmed, true
}

// setKeys sets the fields of target from a JSON object. The path is the prefix
// of the keys in errors.
func setKeys[T any](object settingValue, path string, target *T, keys []settingKey[T]) {
	if !object.is('{', "an object") {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(object.raw))
	seen := make(map[string]string, len(keys)) // as they are spelt in the object
	_, err := decoder.Token()
	for err == nil && decoder.More() {
		var token json.Token
		var raw json.RawMessage
		if token, err = decoder.Token(); err != nil {
			break
		}
		if err = decoder.Decode(&raw); err != nil {
			break
		}
		name, _ := token.(string)
		at := slices.IndexFunc(keys, func(key settingKey[T]) bool { return strings.EqualFold(key.name, name) })
		if at < 0 {
			object.fault("has the unknown key %s; %s", showKey(name), suggestKey(name, keys))
			continue
		}
		key := keys[at]
		value := settingValue{field: path + key.name, raw: raw, bad: object.bad}
		switch before, twice := seen[key.name]; {
		case !twice:
			seen[key.name] = name
			key.set(target, value)
		case before == name:
			value.fault("is given twice")
		default:
			value.fault("is given twice, as %s and as %s", before, name)
		}
	}
	if err != nil { // checkJSON found it well-formed
		object.fault("cannot be read as a JSON object")
	}
}
