package core

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/internal/wire"
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
// and chunk_size and paused for a consumer.
//
// Seconds are numbers or strings, such as 0.5 or "0.5"; Go durations such as
// "500ms" are accepted, too. A missing key leaves its field zero, which means
// the default. An unknown key, a duplicate key, null, a value of the wrong type
// and input of more than 1 MiB are errors.
//
// The error is [ErrInvalidConfig] and wraps a [*FieldError] for each invalid
// key; it contains no values. ParseSettings does not validate the Config, for
// example whether its URL is valid; [NewClient] does.
func ParseSettings(r io.Reader) (Config, error) {
	var bad faults
	config := parseSettings(r, &bad)
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// SettingsFromEnv reads a Config from the environment. POSTOFFICE_SETTINGS
// names a file for [ParseSettings]; these variables override its keys:
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
//	POSTOFFICE_RELAY_RATE            messages in a second
//	POSTOFFICE_SETUP_REQUIRED        true or false
//
// An empty variable counts as not set. Other variables that begin with
// POSTOFFICE_ are ignored: in Kubernetes, a service named postoffice adds
// POSTOFFICE_PORT, POSTOFFICE_SERVICE_HOST and more to the environment of every
// container.
//
// The errors are those of ParseSettings and name the variable.
func SettingsFromEnv() (Config, error) {
	var config Config
	var bad faults
	if path := strings.TrimSpace(os.Getenv("POSTOFFICE_SETTINGS")); path != "" {
		var err error
		if config, err = settingsFromFile(path); err != nil {
			return Config{}, err
		}
	}
	for _, variable := range envVariables() {
		if text := strings.TrimSpace(os.Getenv(variable.name)); text != "" {
			variable.set(&config, settingValue{field: variable.name, bad: &bad}, text)
		}
	}
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

func settingsFromFile(path string) (Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return Config{}, faults{fieldError("POSTOFFICE_SETTINGS", "cannot be read: %w", err)}.err()
	}
	defer func() { _ = file.Close() }() // it was only read
	var bad faults
	config := parseSettings(file, &bad)
	if len(bad) > 0 {
		return Config{}, fmt.Errorf("%w: POSTOFFICE_SETTINGS=%s: %w", ErrInvalidConfig, path, errors.Join(bad...))
	}
	return config, nil
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
	seen := make(map[string]bool, len(keys))
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
		at := slices.IndexFunc(keys, func(key settingKey[T]) bool { return key.name == name })
		switch {
		case at < 0:
			object.fault("has the unknown key %s; %s", showKey(name), suggestKey(name, keys))
		case seen[name]:
			object.bad.add(fieldError(path+name, "is given twice"))
		default:
			seen[name] = true
			keys[at].set(target, settingValue{field: path + name, raw: raw, bad: object.bad})
		}
	}
	if err != nil { // checkJSON found it well-formed
		object.fault("cannot be read as a JSON object")
	}
}

// showKey quotes a key, unless it may be misplaced data that must not be shown,
// such as a URL with a password.
func showKey(name string) string {
	odd := strings.ContainsFunc(name, func(r rune) bool { return !isUnreserved(r) })
	if odd || len(name) > 40 {
		return "(not shown)"
	}
	return strconv.Quote(name)
}

// suggestKey returns a hint about the intended key.
func suggestKey[T any](name string, keys []settingKey[T]) string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.name
	}
	distance := func(known string) int {
		return editDistance(foldKey(name), foldKey(known))
	}
	nearest := slices.MinFunc(names, func(a, b string) int { return cmp.Compare(distance(a), distance(b)) })
	if len(name) <= 40 && distance(nearest) <= max(2, len(nearest)/3) {
		return "did you mean " + nearest + "?"
	}
	return "the keys are " + strings.Join(names, ", ")
}

// foldKey maps spellings such as bulkTimeout and BULK_TIMEOUT to the same text.
func foldKey(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// editDistance counts the insertions, deletions and substitutions of bytes that
// turn a into b. For texts longer than a name it returns the maximum.
func editDistance(a, b string) int {
	const most = wire.MaxNameLength
	if len(a) > most || len(b) > most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// settingValue is a value of the settings and the name of its field. Its
// methods set the target or report a value of the wrong type; they never repeat
// the value, which may contain a credential.
type settingValue struct {
	field string
	raw   json.RawMessage
	bad   *faults
}

func (v settingValue) fault(format string, args ...any) {
	v.bad.add(fieldError(v.field, format, args...))
}

// is reports whether the value begins like the wanted type, and records a fault
// otherwise.
func (v settingValue) is(begin byte, wanted string) bool {
	if v.raw[0] == begin {
		return true
	}
	v.wrongType(wanted)
	return false
}

func (v settingValue) wrongType(wanted string) {
	switch v.raw[0] {
	case 'n':
		v.fault("is null; it must be %s, or left out", wanted)
	case '"':
		v.fault("must be %s, not a string", wanted)
	case '{':
		v.fault("must be %s, not an object", wanted)
	case '[':
		v.fault("must be %s, not a list", wanted)
	case 't', 'f':
		v.fault("must be %s, not a boolean", wanted)
	default:
		v.fault("must be %s, not a number", wanted)
	}
}

func (v settingValue) text(target *string) {
	if v.is('"', "a string") {
		v.decode(target)
	}
}

func (v settingValue) bool(target *bool) {
	switch v.raw[0] {
	case 't', 'f':
		*target = v.raw[0] == 't'
	default:
		v.wrongType("true or false")
	}
}

func (v settingValue) boolText(text string, target *bool) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		v.fault("must be true or false")
		return
	}
	*target = value
}

func (v settingValue) integer(target *int) {
	switch c := v.raw[0]; {
	case c == '-' || '0' <= c && c <= '9':
		v.integerText(string(v.raw), target)
	default:
		v.wrongType("a whole number")
	}
}

func (v settingValue) integerText(text string, target *int) {
	number, err := strconv.Atoi(text)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			v.fault("is out of range")
		} else {
			v.fault("must be a whole number")
		}
		return
	}
	*target = number
}

func (v settingValue) seconds(target *time.Duration) {
	switch c := v.raw[0]; {
	case c == '"':
		var text string
		if v.decode(&text) {
			v.secondsText(strings.TrimSpace(text), target)
		}
	case c == '-' || '0' <= c && c <= '9':
		v.secondsText(string(v.raw), target)
	default:
		v.wrongType("a number of seconds")
	}
}

// secondsText reads a number of seconds or a Go duration.
func (v settingValue) secondsText(text string, target *time.Duration) {
	if strings.Trim(text, "0123456789.+-eE") != "" || text == "" {
		duration, err := time.ParseDuration(text)
		switch {
		case err != nil:
			v.fault(`must be seconds, such as 0.5, or a duration such as "500ms"`)
		case duration < 0:
			v.fault("is negative")
		default:
			*target = duration
		}
		return
	}
	seconds, err := strconv.ParseFloat(text, 64)
	nanoseconds := math.Round(seconds * float64(time.Second))
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	isZero := !strings.ContainsAny(mantissa, "123456789")
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		v.fault(`must be seconds, such as 0.5, or a duration such as "500ms"`)
	case seconds < 0:
		v.fault("is negative")
	case nanoseconds >= math.MaxInt64: // as a float64 it is 2^63, which overflows
		v.fault("is out of range")
	case nanoseconds == 0 && !isZero: // zero would mean the default
		v.fault("is less than a nanosecond")
	default:
		*target = time.Duration(nanoseconds)
	}
}

// elements splits a JSON list.
func (v settingValue) elements() []settingValue {
	var list []json.RawMessage
	if !v.is('[', "a list") || !v.decode(&list) {
		return nil
	}
	values := make([]settingValue, len(list))
	for i, raw := range list {
		values[i] = settingValue{field: fmt.Sprintf("%s[%d]", v.field, i), raw: raw, bad: v.bad}
	}
	return values
}

func (v settingValue) texts(target *[]string) {
	var texts []string
	for _, element := range v.elements() {
		var text string
		element.text(&text)
		texts = append(texts, text)
	}
	*target = texts
}

func (v settingValue) consumers(target *[]Consumer) {
	var consumers []Consumer
	for _, element := range v.elements() {
		var consumer Consumer
		setKeys(element, element.field+".", &consumer, consumerKeys())
		consumers = append(consumers, consumer)
	}
	*target = consumers
}

// decode reads a value whose type is already checked.
func (v settingValue) decode(target any) bool {
	if err := json.Unmarshal(v.raw, target); err != nil {
		v.fault("cannot be read")
		return false
	}
	return true
}
