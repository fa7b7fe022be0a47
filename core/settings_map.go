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
// the keys and the rules of [ParseSettings]. It accepts the output of YAML and TOML
// decoders and of configuration libraries such as viper and koanf:
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
// [time.Time], and more than 100,000 values are also errors.
func SettingsFromMap(settings map[string]any) (Config, error) {
	const field = "settings"
	var config Config
	var bad faults
	encoder := settingsEncoder{bad: &bad}
	encoder.object(field, reflect.ValueOf(settings), 0)
	if encoder.values > maxSettingsValues {
		return Config{}, faults{fieldError(field, "has more than %d values", maxSettingsValues)}.err()
	}
	setKeys(settingValue{field: field, raw: encoder.out.Bytes(), bad: &bad}, "", &config, configKeys())
	if err := bad.err(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// Bounds of decoded settings; a map could contain itself.
const (
	// maxSettingsDepth bounds how deep lists and maps are nested. Settings have 3
	// levels.
	maxSettingsDepth = 10
	// maxSettingsValues bounds the number of values.
	maxSettingsValues = 100_000
)

// settingsEncoder encodes values as JSON. Faults name the path of the value; the
// methods return false after one, and what they have written is discarded.
type settingsEncoder struct {
	out    bytes.Buffer
	bad    *faults
	values int
}

func (e *settingsEncoder) fault(path, format string, args ...any) bool {
	e.bad.add(fieldError(path, format, args...))
	return false
}

func (e *settingsEncoder) write(text string) bool {
	e.out.WriteString(text)
	return true
}

func (e *settingsEncoder) value(path string, v reflect.Value, depth int) bool {
	if e.values++; e.values > maxSettingsValues {
		return false // SettingsFromMap reports it
	}
	for depth <= maxSettingsDepth && (v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer) {
		if v.Kind() == reflect.Pointer {
			depth++
		}
		v = v.Elem() // of nil: not valid
	}
	if depth > maxSettingsDepth {
		return e.fault(path, "is nested too deep")
	}
	if !v.IsValid() {
		return e.write("null")
	}
	switch known := v.Interface().(type) {
	case time.Duration:
		return e.text(path, known.String())
	case json.Number:
		return e.number(path, known)
	}
	switch v.Kind() {
	case reflect.String:
		return e.text(path, v.String())
	case reflect.Bool:
		return e.write(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return e.write(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return e.write(strconv.FormatUint(v.Uint(), 10))
	case reflect.Float32, reflect.Float64:
		return e.float(path, v)
	case reflect.Slice, reflect.Array:
		return e.list(path, v, depth+1)
	case reflect.Map:
		return e.object(path, v, depth+1)
	default:
		return e.fault(path, "has the Go type %s, which settings do not have", v.Type())
	}
}

func (e *settingsEncoder) text(path, text string) bool {
	if !utf8.ValidString(text) {
		return e.fault(path, "is not valid UTF-8")
	}
	encoded, _ := json.Marshal(text) // a string always encodes
	return e.write(string(encoded))
}

// number encodes a number as it was written.
func (e *settingsEncoder) number(path string, number json.Number) bool {
	encoded, err := json.Marshal(number)
	if err != nil || number == "" {
		return e.fault(path, "is not a number")
	}
	return e.write(string(encoded))
}

// float encodes whole numbers without an exponent, because some decoders make
// floats of all numbers.
func (e *settingsEncoder) float(path string, v reflect.Value) bool {
	number := v.Float()
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return e.fault(path, "is not a finite number")
	}
	return e.write(strconv.FormatFloat(number, 'f', -1, v.Type().Bits()))
}

func (e *settingsEncoder) list(path string, v reflect.Value, depth int) bool {
	ok := e.write("[")
	for i := range v.Len() {
		if i > 0 {
			e.write(",")
		}
		ok = e.value(fmt.Sprintf("%s[%d]", path, i), v.Index(i), depth) && ok
	}
	return e.write("]") && ok
}

// object encodes a map without the entries that have faults, its keys in order so
// that errors are always the same.
func (e *settingsEncoder) object(path string, v reflect.Value, depth int) bool {
	type entry struct {
		name  string
		value reflect.Value
	}
	var entries []entry
	ok := true
	for key, value := range v.Seq2() {
		if key.Kind() == reflect.Interface {
			key = key.Elem()
		}
		if key.Kind() != reflect.String {
			ok = e.fault(path, "has a key that is not a string")
			continue
		}
		entries = append(entries, entry{key.String(), value})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	e.write("{")
	separator := ""
	for _, entry := range entries {
		before := e.out.Len()
		e.write(separator)
		if e.text(path, entry.name) && e.write(":") && e.value(keyPath(path, entry.name), entry.value, depth) {
			separator = ","
		} else {
			e.out.Truncate(before)
		}
	}
	return e.write("}") && ok
}

// keyPath returns the path of a key in errors, which ParseSettings would use.
func keyPath(path, name string) string {
	shown := strings.Trim(showKey(name), `"`)
	if path == "settings" {
		return strings.ToUpper(shown)
	}
	return path + "." + strings.ToLower(shown)
}
