package message

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// notObject returns the problem of a payload that does not encode to an object.
func notObject(field string, payload any, encoded []byte) *Problem {
	if len(encoded) == 0 {
		return problemAt(field, "is %T, which encodes to nothing; %s", payload, wantObject)
	}
	switch encoded[0] {
	case 'n':
		return problemAt(field, "is %T and encodes to null; %s", payload, wantObject)
	case '[':
		return problemAt(field, "is %T and encodes to a JSON list; %s; PublishBulk publishes many payloads at once", payload, wantObject)
	case '"':
		return problemAt(field, "is %T and encodes to a JSON string; %s", payload, wantObject)
	case 't', 'f':
		return problemAt(field, "is %T and encodes to a JSON boolean; %s", payload, wantObject)
	}
	return problemAt(field, "is %T and encodes to a JSON number; %s", payload, wantObject)
}

// losesAll reports whether a non-empty payload encodes to {}, such as a reader,
// an error or another struct without exported fields.
func losesAll(payload any) bool {
	if _, ok := payload.(json.Marshaler); ok {
		return false
	}
	if _, ok := payload.(io.Reader); ok {
		return true
	}
	t := reflect.TypeOf(payload)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.NumField() == 0 {
		return false
	}
	for field := range t.Fields() {
		if field.IsExported() || field.Anonymous {
			return false
		}
	}
	return true
}

// encodingProblem describes an error of encoding/json, whose text may contain
// the payload.
func encodingProblem(field string, payload any, err error) *Problem {
	// The outermost error is checked first: an error of a MarshalJSON method
	// may wrap an error about a value outside the payload.
	if failed, ok := errors.AsType[*json.MarshalerError](err); ok {
		// The type may be a pointer to the type of the value.
		var culprit reflect.Value
		path, found := findValue(payload, func(v reflect.Value) bool {
			culprit = v
			failed := v.Type() == failed.Type || reflect.PointerTo(v.Type()) == failed.Type
			return failed && v.CanInterface() && failsToMarshal(v)
		})
		if !found {
			return problemAt(field, "contains %v, whose marshaling method failed", failed.Type)
		}
		if culprit.Type() == reflect.TypeFor[json.RawMessage]() {
			// The error does not contain the offset, so the text is parsed
			// again.
			var raw json.RawMessage
			if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(culprit.Bytes(), &raw)); ok {
				return problemAt(field+path, "is json.RawMessage, but not valid JSON at byte %d", syntax.Offset)
			}
		}
		return problemAt(field+path, "is %v, whose marshaling method failed", culprit.Type())
	}
	if unsupported, ok := errors.AsType[*json.UnsupportedTypeError](err); ok {
		path, _ := findValue(payload, func(v reflect.Value) bool { return v.Type() == unsupported.Type })
		return problemAt(field+path, "is %v, which has no JSON form", unsupported.Type)
	}
	if unsupported, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		path, found := findValue(payload, func(v reflect.Value) bool {
			return v.CanFloat() && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0))
		})
		switch {
		case found:
			return problemAt(field+path, "is not a finite number")
		case unsupported.Value.IsValid():
			return problemAt(field, "contains a cycle through %v", unsupported.Value.Type())
		}
		return problemAt(field, "contains a cycle or another value without a JSON form")
	}
	path, found := findValue(payload, func(v reflect.Value) bool {
		return v.Type() == reflect.TypeFor[json.Number]() && v.CanInterface() && failsToMarshal(v)
	})
	if found {
		return problemAt(field+path, "is a json.Number that is not a number")
	}
	return problemAt(field, "is %T, which cannot be encoded as JSON", payload)
}

func failsToMarshal(v reflect.Value) bool {
	if v.CanAddr() {
		v = v.Addr()
	}
	_, err := json.Marshal(v.Interface())
	return err != nil
}

// pathAt returns the path to the value at an offset of the JSON text, such as
// ".user.names[2]". For a key it is the path to its object.
func pathAt(text []byte, offset int) string {
	type level struct {
		list  bool
		index int    // of the current element
		key   string // of the current value
		value bool   // the value of a key is next
	}
	var levels []level
	path := func() string {
		var path strings.Builder
		for _, l := range levels {
			switch {
			case l.list:
				path.WriteString("[" + strconv.Itoa(l.index) + "]")
			case l.value:
				path.WriteString(pathKey(l.key))
			}
		}
		return path.String()
	}
	// next advances to the next element or key after a value.
	next := func() {
		if len(levels) > 0 {
			top := &levels[len(levels)-1]
			top.index++
			top.value = false
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil || decoder.InputOffset() > int64(offset) {
			return path()
		}
		switch delimiter, _ := token.(json.Delim); delimiter {
		case '{', '[':
			levels = append(levels, level{list: delimiter == '['})
		case '}', ']':
			levels = levels[:len(levels)-1]
			next()
		default:
			if top := &levels[len(levels)-1]; !top.list && !top.value {
				top.key, _ = token.(string)
				top.value = true
			} else {
				next()
			}
		}
	}
}

// pathKey returns a key as part of a path. A key that is not a plain name is
// hidden, because it may be data, such as an address or a card number.
func pathKey(key string) string {
	if key == "" || len(key) > 40 {
		return "[?]"
	}
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || c == '-'):
		default:
			return "[?]"
		}
	}
	return "." + key
}

// findInvalidText finds invalid UTF-8 in a payload, which encoding/json would
// replace silently.
func findInvalidText(payload any) (path string, found bool) {
	return findValue(payload, func(v reflect.Value) bool {
		if marshaler, ok := textMarshaler(v); ok {
			text, err := marshaler.MarshalText()
			return err == nil && !utf8.Valid(text)
		}
		return v.Kind() == reflect.String && !utf8.ValidString(v.String())
	})
}

// textMarshaler returns the value as a text marshaler if encoding/json would
// use it as one.
func textMarshaler(v reflect.Value) (encoding.TextMarshaler, bool) {
	if !v.CanInterface() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, false
	}
	if v.Kind() != reflect.Pointer && v.CanAddr() {
		v = v.Addr()
	}
	value := v.Interface()
	if _, ok := value.(json.Marshaler); ok {
		return nil, false
	}
	marshaler, ok := value.(encoding.TextMarshaler)
	return marshaler, ok
}

// findValue visits the values that encoding/json encodes and returns the path
// to the first value with the fault, or to the object whose key has it. It
// locates a fault that is certain or likely to exist. It also visits the
// exported fields of values with a MarshalJSON method, because many such
// methods encode these fields through a type without methods.
func findValue(payload any, fault func(reflect.Value) bool) (path string, found bool) {
	finder := valueFinder{fault: fault, seen: map[seenValue]bool{}}
	if v := reflect.ValueOf(payload); v.IsValid() && finder.find(v) {
		for _, step := range finder.steps {
			path = step + path
		}
		return path, true
	}
	return "", false
}

type valueFinder struct {
	fault func(reflect.Value) bool
	// seen holds the visited values, because values may share parts, and parts
	// that are not encoded may form cycles.
	seen  map[seenValue]bool
	steps []string // the path, in reverse
}

type seenValue struct {
	kind   reflect.Type
	place  uintptr
	length int
}

// find reports whether v is or contains the fault, and adds its steps if so.
func (f *valueFinder) find(v reflect.Value) bool {
	if f.fault(v) {
		return true
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return !v.IsNil() && (v.Kind() == reflect.Interface || f.enter(v, 0)) && f.find(v.Elem())
	case reflect.Struct:
		return f.findField(v)
	case reflect.Map:
		if v.IsNil() || !f.enter(v, v.Len()) {
			return false
		}
		for _, key := range sortedKeys(v) {
			value, name := v.MapIndex(key), "" // a key that cannot be shown
			if key.Kind() == reflect.String {
				name = key.String()
				key = reflect.ValueOf(name) // encoding/json does not call methods of string keys
			}
			if f.fault(key) {
				return true
			}
			if f.find(value) {
				f.steps = append(f.steps, pathKey(name))
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 || v.Kind() == reflect.Slice && !f.enter(v, v.Len()) {
			return false
		}
		for i := range v.Len() {
			if f.find(v.Index(i)) {
				f.steps = append(f.steps, "["+strconv.Itoa(i)+"]")
				return true
			}
		}
	}
	return false
}

// sortedKeys returns the keys of a map, with strings sorted, which makes the
// result deterministic if there are several faults.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	if v.Type().Key().Kind() == reflect.String {
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	}
	return keys
}

// enter reports whether the value that v refers to is visited for the first
// time.
func (f *valueFinder) enter(v reflect.Value, length int) bool {
	value := seenValue{v.Type(), v.Pointer(), length}
	if f.seen[value] {
		return false
	}
	f.seen[value] = true
	return true
}

func (f *valueFinder) findField(v reflect.Value) bool {
	for field := range v.Type().Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !isEncoded(field) {
			continue
		}
		value := v.FieldByIndex(field.Index)
		if omitsZero(options, value) || !f.find(value) {
			continue
		}
		switch {
		case name != "":
			f.steps = append(f.steps, pathKey(name))
		case !field.Anonymous:
			f.steps = append(f.steps, pathKey(field.Name))
		}
		return true
	}
	return false
}

// isEncoded reports whether encoding/json encodes a field.
func isEncoded(field reflect.StructField) bool {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	promotes := field.Anonymous && t.Kind() == reflect.Struct
	return (field.IsExported() || promotes) && field.Tag.Get("json") != "-"
}

// omitsZero reports whether a field is omitted because its IsZero method
// returns true.
func omitsZero(options string, v reflect.Value) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == "omitzero" && v.CanInterface() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
			zero, ok := v.Interface().(interface{ IsZero() bool })
			return ok && zero.IsZero()
		}
	}
	return false
}
