package message

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// NoAttributes is shared by all messages without attributes. It must not be
// modified. It has no spare capacity, so appending to it copies it.
var NoAttributes = []byte("{}")

// nameProblem returns the problem with the name of an attribute.
func nameProblem(name string) string {
	if name == "" {
		return "has an empty name"
	}
	if problem := textProblem(name); problem != "" {
		return "has a name that " + problem
	}
	return ""
}

// attributeText converts the value of an attribute to a string, or returns the
// problem with it: strings are unchanged, booleans become true or false,
// numbers have no exponent, times are RFC 3339 with nanoseconds, and durations
// have the form "1.5s". Other values use [encoding.TextMarshaler],
// [fmt.Stringer] or error, in this order, and pointers are dereferenced. A
// value without a text form, such as a struct, a list or nil, is a problem.
func attributeText(value any) (text, problem string) {
	text, problem = castAttribute(value)
	if problem == "" {
		problem = textProblem(text)
	}
	return text, problem
}

// textProblem returns the reason why the server cannot store a text unchanged.
func textProblem(text string) string {
	switch {
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case strings.IndexByte(text, 0) >= 0:
		return "contains a NUL, which the server cannot store"
	}
	return ""
}

// castAttribute returns the text of a value, or the problem with it.
func castAttribute(value any) (text, problem string) {
	// Pointers may point to themselves, so the depth is bounded.
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
		return "", fmt.Sprintf("is %T, which has no text form; pass a string", value)
	}
	return "", fmt.Sprintf("is %T, which has too many levels of pointers", value)
}

// ownText calls the value's method that returns its text, if there is one. If
// the method panics, such as a promoted method of a nil embedded pointer, the
// attribute is invalid and the caller continues.
func ownText(value any) (text, problem string, ok bool) {
	defer func() {
		if recover() != nil {
			text, problem, ok = "", fmt.Sprintf("is %T, whose text method panics", value), true
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

// AppendString appends valid UTF-8 as a JSON string. It escapes only characters
// that JSON requires to be escaped.
func AppendString(to []byte, text string) []byte {
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
