package core

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SettingsFromMap reads a Config from settings that the app has decoded, with
// the keys and the rules of [ParseSettings]. It takes what YAML and TOML decoders
// and configuration libraries such as viper and koanf make of a file:
//
//	var file struct {
//		Postoffice map[string]any `yaml:"postoffice"`
//	}
//	err := yaml.Unmarshal(text, &file)
//	...
//	config, err := core.SettingsFromMap(file.Postoffice)
//
// Values are strings, booleans, numbers of any type, [time.Duration], lists and
// maps with string keys; maps of type map[any]any, pointers and named types of
// these are accepted, too. Numbers are seconds where ParseSettings has seconds.
// A nil map has no keys.
//
// The errors are those of ParseSettings. A value of another type, such as a
// [time.Time], is also an error.
func SettingsFromMap(settings map[string]any) (Config, error) {
	const field = "settings"
	var config Config
	var bad faults
	if raw := encodeSettings(settings, &bad); len(bad) == 0 {
		setKeys(settingValue{field: field, raw: raw, bad: &bad}, "", &config, configKeys())
	}
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// encodeSettings encodes decoded settings as JSON, with all keys of a map, also
// those that differ only in case.
func encodeSettings(settings map[string]any, bad *faults) json.RawMessage {
	var e settingsEncoder
	e.bad = bad
	if settings == nil {
		settings = map[string]any{}
	}
	e.value("settings", reflect.ValueOf(settings), 0)
	return e.out.Bytes()
}

// maxSettingsDepth bounds how deep lists and maps are nested. Settings have 3
// levels; a map that contains itself has no end.
const maxSettingsDepth = 10

// settingsEncoder encodes values as JSON. Faults name the path of the value.
type settingsEncoder struct {
	out bytes.Buffer
	bad *faults
}

func (e *settingsEncoder) fault(path, format string, args ...any) {
	e.bad.add(fieldError(path, format, args...))
}

func (e *settingsEncoder) value(path string, v reflect.Value, depth int) {
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		if v.Kind() == reflect.Pointer {
			depth++
		}
		if depth > maxSettingsDepth {
			break
		}
		v = v.Elem() // of nil: not valid
	}
	if depth > maxSettingsDepth {
		e.fault(path, "is nested too deep")
		return
	}
	if !v.IsValid() {
		e.out.WriteString("null")
		return
	}
	switch known := v.Interface().(type) {
	case time.Duration:
		e.text(path, known.String())
		return
	case json.Number:
		e.number(path, known)
		return
	}
	switch v.Kind() {
	case reflect.String:
		e.text(path, v.String())
	case reflect.Bool:
		e.out.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.out.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		e.float(path, v)
	case reflect.Slice, reflect.Array:
		e.list(path, v, depth+1)
	case reflect.Map:
		e.object(path, v, depth+1)
	default:
		e.fault(path, "has the Go type %s, which settings do not have", v.Type())
	}
}

func (e *settingsEncoder) text(path, text string) {
	if !utf8.ValidString(text) {
		e.fault(path, "is not valid UTF-8")
		return
	}
	encoded, _ := json.Marshal(text) // a string always encodes
	e.out.Write(encoded)
}

// number encodes a number as it was written.
func (e *settingsEncoder) number(path string, number json.Number) {
	encoded, err := json.Marshal(number)
	if err != nil || number == "" {
		e.fault(path, "is not a number")
		return
	}
	e.out.Write(encoded)
}

// float encodes whole numbers without an exponent, because TOML and JSON decoders
// make floats of them.
func (e *settingsEncoder) float(path string, v reflect.Value) {
	number := v.Float()
	if math.IsNaN(number) || math.IsInf(number, 0) {
		e.fault(path, "is not a finite number")
		return
	}
	e.out.WriteString(strconv.FormatFloat(number, 'f', -1, v.Type().Bits()))
}

func (e *settingsEncoder) list(path string, v reflect.Value, depth int) {
	e.out.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.out.WriteByte(',')
		}
		e.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), depth)
	}
	e.out.WriteByte(']')
}

// object encodes a map, its keys in order so that errors are always the same.
func (e *settingsEncoder) object(path string, v reflect.Value, depth int) {
	type entry struct {
		name  string
		value reflect.Value
	}
	var entries []entry
	for key, value := range v.Seq2() {
		if key.Kind() == reflect.Interface {
			key = key.Elem()
		}
		if key.Kind() != reflect.String {
			e.fault(path, "has a key that is not a string")
			continue
		}
		entries = append(entries, entry{key.String(), value})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	e.out.WriteByte('{')
	for i, entry := range entries {
		if i > 0 {
			e.out.WriteByte(',')
		}
		e.text(path, entry.name)
		e.out.WriteByte(':')
		e.value(keyPath(path, entry.name), entry.value, depth)
	}
	e.out.WriteByte('}')
}

// keyPath returns the path of a key in errors, which ParseSettings would use.
func keyPath(path, name string) string {
	shown := strings.Trim(showKey(name), `"`)
	if path == "settings" {
		return strings.ToUpper(shown)
	}
	return path + "." + strings.ToLower(shown)
}
