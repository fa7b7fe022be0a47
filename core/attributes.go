package core

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// noAttributes is what messages without attributes share. It is never
// written to, and full, so that appending to it makes a copy.
var noAttributes = []byte("{}")

// attributeSet is attributes that were given together: many, or a single one.
type attributeSet struct {
	many   map[string]any
	single bool
	name   string
	value  any
}

func (s *attributeSet) len() int {
	if s.single {
		return 1
	}
	return len(s.many)
}

// encodeAttributes encodes attributes as a JSON object of strings, its keys
// in order, so that equal attributes have equal bytes. Later sets override
// earlier ones. Errors are ErrInvalidMessage and name the attribute, never
// its value. The result must not be written to.
func encodeAttributes(sets ...attributeSet) ([]byte, error) {
	count, last := 0, 0
	for i := range sets {
		if n := sets[i].len(); n > 0 {
			count += n
			last = i
		}
	}
	if count == 0 {
		return noAttributes[:2:2], nil
	}
	if count == 1 && sets[last].single {
		encoded := append(make([]byte, 0, 64), '{')
		encoded, err := appendAttribute(encoded, sets[last].name, sets[last].value)
		if err != nil {
			return nil, err
		}
		return append(encoded, '}'), nil
	}
	all := sets[last].many
	if count > len(all) {
		all = make(map[string]any, count)
		for _, set := range sets {
			if set.single {
				all[set.name] = set.value
			}
			maps.Copy(all, set.many)
		}
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)

	encoded := make([]byte, 0, 32*len(names))
	separator := byte('{')
	for _, name := range names {
		encoded = append(encoded, separator)
		separator = ','
		var err error
		if encoded, err = appendAttribute(encoded, name, all[name]); err != nil {
			return nil, err
		}
	}
	return append(encoded, '}'), nil
}

// appendAttribute appends an attribute's name and text.
func appendAttribute(to []byte, name string, value any) ([]byte, error) {
	text, err := attributeText(name, value)
	if err != nil {
		return nil, err
	}
	to = append(appendJSONString(to, name), ':')
	return appendJSONString(to, text), nil
}

// attributeText casts the value of an attribute to a string: strings as they
// are, booleans as true and false, numbers without an exponent, times as RFC
// 3339 with their nanoseconds, durations as in "1.5s". Other values are asked
// for their text as [encoding.TextMarshaler], [fmt.Stringer] or error, in
// this order, and pointers for what they point to. What has no text of its
// own, such as a struct, a list or nil, is refused.
func attributeText(name string, value any) (string, error) {
	if name == "" {
		return "", attributeFault(name, "has an empty name")
	}
	if problem := textProblem(name); problem != "" {
		return "", attributeFault(name, "has a name that "+problem)
	}
	text, problem := castAttribute(value)
	if problem == "" {
		problem = textProblem(text)
	}
	if problem != "" {
		return "", attributeFault(name, problem)
	}
	return text, nil
}

func attributeFault(name, problem string) error {
	return invalid(fieldError(fmt.Sprintf("attributes[%.100q]", name), "%s", problem))
}

// textProblem says why the server could not store a text as it is.
func textProblem(text string) string {
	switch {
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case strings.IndexByte(text, 0) >= 0:
		return "holds a NUL, which the server cannot store"
	}
	return ""
}

// castAttribute returns the text of a value, or the problem with it.
func castAttribute(value any) (text, problem string) {
	// Pointers may point to themselves; nobody means more than a few.
	for range 8 {
		switch value := value.(type) {
		case nil:
			return "", "is nil"
		case string:
			return value, ""
		case bool:
			return strconv.FormatBool(value), ""
		case int:
			return strconv.Itoa(value), ""
		case int64:
			return strconv.FormatInt(value, 10), ""
		case float64:
			return floatText(value, 64)
		case []byte, json.RawMessage:
			return "", fmt.Sprintf("is %T; convert it to a string", value)
		case time.Time:
			return value.Format(time.RFC3339Nano), ""
		case *time.Time:
			if value != nil {
				return value.Format(time.RFC3339Nano), ""
			}
		}
		v := reflect.ValueOf(value)
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return "", fmt.Sprintf("is a nil %T", value)
		}
		if text, problem, ok := ownText(value); ok {
			return text, problem
		}
		switch {
		case v.Kind() == reflect.Pointer:
			value = v.Elem().Interface()
			continue
		case v.Kind() == reflect.String:
			return v.String(), ""
		case v.Kind() == reflect.Bool:
			return strconv.FormatBool(v.Bool()), ""
		case v.CanInt():
			return strconv.FormatInt(v.Int(), 10), ""
		case v.CanUint():
			return strconv.FormatUint(v.Uint(), 10), ""
		case v.CanFloat():
			return floatText(v.Float(), v.Type().Bits())
		}
		return "", fmt.Sprintf("is %T, which has no text of its own; pass a string", value)
	}
	return "", fmt.Sprintf("is %T, a pointer to too many pointers", value)
}

// ownText asks a value for its text, if it has a method for that. A method
// that panics, as those of a struct with a nil pointer embedded do, is a
// problem of the attribute and not the end of the caller.
func ownText(value any) (text, problem string, ok bool) {
	defer func() {
		if recover() != nil {
			text, problem, ok = "", fmt.Sprintf("is %T, whose method that gives its text panics", value), true
		}
	}()
	switch value := value.(type) {
	case encoding.TextMarshaler:
		bytes, err := value.MarshalText()
		if err != nil { // its text may repeat the value
			return "", fmt.Sprintf("is %T, whose MarshalText fails", value), true
		}
		return string(bytes), "", true
	case fmt.Stringer:
		return value.String(), "", true
	case error:
		return value.Error(), "", true
	}
	return "", "", false
}

func floatText(number float64, bits int) (text, problem string) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return "", "is not a finite number"
	}
	return strconv.FormatFloat(number, 'f', -1, bits), ""
}

// appendJSONString appends valid UTF-8 as a JSON string, escaping only what
// JSON demands.
func appendJSONString(to []byte, text string) []byte {
	const hex = "0123456789abcdef"
	to = append(to, '"')
	start := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		to = append(to, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, `\n`...)
		case '\r':
			to = append(to, `\r`...)
		case '\t':
			to = append(to, `\t`...)
		default:
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		}
	}
	to = append(to, text[start:]...)
	return append(to, '"')
}
