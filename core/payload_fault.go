package core

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

// notObject says what a payload encodes to instead of an object.
func notObject(field string, payload any, encoded []byte) *FieldError {
	if len(encoded) == 0 {
		return fieldError(field, "is %T, which encodes to nothing; %s", payload, wantObject)
	}
	switch encoded[0] {
	case 'n':
		return fieldError(field, "is %T and encodes to null; %s", payload, wantObject)
	case '[':
		return fieldError(field, "is %T and encodes to a JSON list; %s; PublishBulk publishes many payloads at once", payload, wantObject)
	case '"':
		return fieldError(field, "is %T and encodes to a JSON string; %s", payload, wantObject)
	case 't', 'f':
		return fieldError(field, "is %T and encodes to a JSON boolean; %s", payload, wantObject)
	}
	return fieldError(field, "is %T and encodes to a JSON number; %s", payload, wantObject)
}

// losesAll tells whether {} is all that is left of a payload that holds
// something: of a reader, an error or another struct without exported fields.
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

// encodingFault puts an error of encoding/json into words. Its own text may
// repeat the payload.
func encodingFault(field string, payload any, err error) *FieldError {
	// The outermost error comes first: an error of a MarshalJSON method may
	// wrap one of the others, about values that are not the payload's.
	if failed, ok := errors.AsType[*json.MarshalerError](err); ok {
		// The type may be a pointer to that of the value.
		var culprit reflect.Value
		path, found := findValue(payload, func(v reflect.Value) bool {
			culprit = v
			failed := v.Type() == failed.Type || reflect.PointerTo(v.Type()) == failed.Type
			return failed && v.CanInterface() && failsToMarshal(v)
		})
		if !found {
			return fieldError(field, "holds %v, whose method that encodes it failed", failed.Type)
		}
		if culprit.Type() == reflect.TypeFor[json.RawMessage]() {
			// The error does not tell the place; parsing once more does.
			var raw json.RawMessage
			if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(culprit.Bytes(), &raw)); ok {
				return fieldError(field+path, "is json.RawMessage, but not valid JSON at byte %d", syntax.Offset)
			}
		}
		return fieldError(field+path, "is %v, whose method that encodes it failed", culprit.Type())
	}
	if unsupported, ok := errors.AsType[*json.UnsupportedTypeError](err); ok {
		path, _ := findValue(payload, func(v reflect.Value) bool { return v.Type() == unsupported.Type })
		return fieldError(field+path, "is %v, which JSON has no form for", unsupported.Type)
	}
	if unsupported, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		path, found := findValue(payload, func(v reflect.Value) bool {
			return v.CanFloat() && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0))
		})
		switch {
		case found:
			return fieldError(field+path, "is not a finite number")
		case unsupported.Value.IsValid():
			return fieldError(field, "holds a cycle through %v", unsupported.Value.Type())
		}
		return fieldError(field, "holds a cycle or another value that JSON has no form for")
	}
	path, found := findValue(payload, func(v reflect.Value) bool {
		return v.Type() == reflect.TypeFor[json.Number]() && v.CanInterface() && failsToMarshal(v)
	})
	if found {
		return fieldError(field+path, "is a json.Number that is no number")
	}
	return fieldError(field, "is %T, which cannot be encoded as JSON", payload)
}

func failsToMarshal(v reflect.Value) bool {
	if v.CanAddr() {
		v = v.Addr()
	}
	_, err := json.Marshal(v.Interface())
	return err != nil
}

// pathAt returns the path to the value that holds the offset of the JSON
// text, such as ".user.names[2]"; of a key it is the path to its object.
func pathAt(text []byte, offset int) string {
	type level struct {
		list  bool
		index int    // of the element being read
		key   string // of the value being read
		value bool   // a key was read, its value comes next
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
	// next moves on to the next element or key, after a value was read.
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

// pathKey writes a key into a path. A key that is no plain name may be data,
// such as an address or a card's number, and is not shown.
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

// findInvalidText finds the text in a payload that is not valid UTF-8, which
// encoding/json would replace without a word.
func findInvalidText(payload any) (path string, found bool) {
	return findValue(payload, func(v reflect.Value) bool {
		if marshaler, ok := textMarshaler(v); ok {
			text, err := marshaler.MarshalText()
			return err == nil && !utf8.Valid(text)
		}
		return v.Kind() == reflect.String && !utf8.ValidString(v.String())
	})
}

// textMarshaler returns the value as a marshaler of text, if encoding/json
// would use it as one.
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

// findValue walks through what encoding/json encodes of a payload and
// returns the path to the first value, or object with such a key, that the
// fault is of. It is used when a fault is certain or likely, to say where.
// Values with a MarshalJSON method are walked through by their exported
// fields, since many encode them with their types' methods removed.
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
	// seen holds what was walked through, since values may share parts and,
	// outside of what is encoded, have cycles.
	seen  map[seenValue]bool
	steps []string // of the path, the last one first
}

type seenValue struct {
	kind   reflect.Type
	place  uintptr
	length int
}

// find reports whether v is or holds the fault, and then adds its steps.
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
			value, name := v.MapIndex(key), "" // which is shown as unknown
			if key.Kind() == reflect.String {
				name = key.String()
				key = reflect.ValueOf(name) // methods of such keys are not called
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

// sortedKeys returns the keys of a map, strings in order, so that of several
// faults the same one is found each time.
func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	if v.Type().Key().Kind() == reflect.String {
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	}
	return keys
}

// enter reports whether what v refers to was not walked through before.
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

// isEncoded tells whether encoding/json looks at a field.
func isEncoded(field reflect.StructField) bool {
	t := field.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	promotes := field.Anonymous && t.Kind() == reflect.Struct
	return (field.IsExported() || promotes) && field.Tag.Get("json") != "-"
}

// omitsZero tells whether a field is left out because it calls itself zero.
func omitsZero(options string, v reflect.Value) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == "omitzero" && v.CanInterface() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
			zero, ok := v.Interface().(interface{ IsZero() bool })
			return ok && zero.IsZero()
		}
	}
	return false
}
