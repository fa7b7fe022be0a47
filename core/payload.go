package core

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxMessageBytes bounds the payload, attributes and topic of a message
// together: below what the server takes as a body, with room for the rest.
const maxMessageBytes = 7_000_000

// maxPayloadDepth bounds how deep objects and lists are nested. JSON readers
// on the way have bounds of their own, that of encoding/json is 10,000; no
// message has use for so much.
const maxPayloadDepth = 1000

// encodePayload encodes a payload as JSON, once, and checks that the server
// takes it and passes it on unchanged. The field names the payload in
// errors, which are ErrInvalidMessage and tell types and paths within the
// payload, never what it holds. The result belongs to the caller.
//
// Values encode as encoding/json has it, without escaping HTML: time.Time as
// RFC 3339 text, time.Duration as a number of nanoseconds, []byte as base64
// text, big.Int as a number of any length, decimal types as their own
// MarshalJSON or MarshalText says, json.RawMessage as it is. The server
// keeps integers of any size; other numbers become doubles on its side, so
// exact decimals belong in strings. Of a key given twice in raw JSON it keeps
// the first. It overwrites a key "attributes" of the payload itself.
func encodePayload(field string, payload any) ([]byte, error) {
	switch payload := payload.(type) {
	case nil:
		return nil, invalid(fieldError(field, "is nil; %s", wantObject))
	case []byte:
		return nil, invalid(fieldError(field, "is []byte, which encodes to base64 text; pass json.RawMessage for what is JSON already"))
	case string:
		if strings.HasPrefix(strings.TrimSpace(payload), "{") {
			return nil, invalid(fieldError(field, "is a string of JSON; pass json.RawMessage for what is JSON already"))
		}
		return nil, invalid(fieldError(field, "is a string; %s", wantObject))
	}

	encoder := payloadEncoders.Get().(*payloadEncoder)
	err := encoder.json.Encode(payload)
	encoded, size := encoder.take()
	payloadEncoders.Put(encoder)

	if err != nil {
		return nil, invalid(encodingFault(field, payload, err))
	}
	if size > maxMessageBytes {
		return nil, invalid(fieldError(field, "is too large: %d bytes, and the most is %d", size, maxMessageBytes))
	}
	if len(encoded) == 0 || encoded[0] != '{' {
		return nil, invalid(notObject(field, payload, encoded))
	}
	if len(encoded) == len("{}") && losesAll(payload) {
		return nil, invalid(fieldError(field, "is %T and encodes to {}: nothing of what it holds would be sent", payload))
	}
	problem, offset, replaced := scanPayload(encoded)
	if problem != "" {
		return nil, invalid(fieldError(field+pathAt(encoded, offset), "%s", problem))
	}
	if replaced {
		if path, found := findInvalidText(payload); found {
			return nil, invalid(fieldError(field+path, "holds text that is not valid UTF-8"))
		}
	}
	return encoded, nil
}

const wantObject = "it must encode to a JSON object, as a map or a struct does"

// payloadEncoder is an encoder that keeps its set-up between payloads. What
// it encodes is copied once, from the buffer of encoding/json to the result.
type payloadEncoder struct {
	json    *json.Encoder
	encoded []byte
	size    int
}

var payloadEncoders = sync.Pool{New: func() any {
	encoder := new(payloadEncoder)
	encoder.json = json.NewEncoder(encoder)
	encoder.json.SetEscapeHTML(false)
	return encoder
}}

// Write takes what was encoded, unless it is too large to be used.
func (e *payloadEncoder) Write(text []byte) (int, error) {
	e.size += len(text)
	if e.size <= maxMessageBytes+len("\n") {
		e.encoded = append(e.encoded, text...)
	}
	return len(text), nil
}

// take hands out what was encoded, without the newline that ends it, and how
// many bytes it had.
func (e *payloadEncoder) take() ([]byte, int) {
	encoded, size := bytes.TrimSuffix(e.encoded, []byte("\n")), e.size-len("\n")
	e.encoded, e.size = nil, 0
	return encoded, size
}

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

// Problems that scanPayload finds.
const (
	problemNUL       = `holds a NUL (\u0000), which the server cannot store`
	problemSurrogate = "holds a lone surrogate escape, which stands for no character"
	problemUTF8      = "is not valid UTF-8"
	problemNumber    = "is a number too large for a double"
	problemDepth     = "is nested too deep"
)

// scanPayload looks through well-formed JSON for what the server refuses or
// changes. It returns the problem with the offset of its place, and whether
// the text has U+FFFD: encoding/json puts it, as an escape or as its three
// bytes, depending on the version, in the place of bytes that are not UTF-8.
func scanPayload(text []byte) (problem string, offset int, replaced bool) {
	var depth int
	var high byte // has the top bit of any byte within strings
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			for i++; i < len(text); i++ {
				c := text[i]
				if c == '"' {
					break
				}
				high |= c
				if c != '\\' {
					continue
				}
				last, escaped, problem := scanEscape(text, i)
				if problem != "" {
					return problem, i, false
				}
				replaced = replaced || escaped
				i = last
			}
		case '{', '[':
			if depth++; depth > maxPayloadDepth {
				return problemDepth, 0, false
			}
		case '}', ']':
			depth--
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			start := i
			exponent := false
			for i+1 < len(text) && isNumberByte(text[i+1]) {
				i++
				exponent = exponent || text[i]|0x20 == 'e'
			}
			if number := text[start : i+1]; !fitsDouble(number, exponent) {
				return problemNumber, start, false
			}
		}
	}
	if high >= utf8.RuneSelf {
		if !utf8.Valid(text) {
			return problemUTF8, invalidOffset(text), false
		}
		replaced = replaced || bytes.Contains(text, []byte("\ufffd"))
	}
	return "", 0, replaced
}

// scanEscape looks at the escape whose backslash is at i. It returns the
// offset of the escape's last byte and whether it may stand for replaced
// bytes.
func scanEscape(text []byte, i int) (last int, replaced bool, problem string) {
	if i+1 >= len(text) {
		return i, false, ""
	}
	if text[i+1] != 'u' {
		// With the option ",string" of a field its text is escaped twice.
		twice := text[i+1] == '\\' && bytes.HasPrefix(text[i+2:], []byte("ufffd"))
		return i + 1, twice, ""
	}
	unit, ok := codeUnit(text, i)
	switch {
	case !ok:
		return i + 1, false, ""
	case unit == 0:
		return i, false, problemNUL
	case unit < 0xD800 || unit > 0xDFFF:
		return i + 5, unit == utf8.RuneError, ""
	}
	if low, ok := codeUnit(text, i+6); unit > 0xDBFF || !ok || low < 0xDC00 || low > 0xDFFF {
		return i, false, problemSurrogate
	}
	return i + 11, false, ""
}

// codeUnit reads the escape \uXXXX at i.
func codeUnit(text []byte, i int) (rune, bool) {
	if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
		return 0, false
	}
	var unit rune
	for _, c := range text[i+2 : i+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

func isNumberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == '-' || c == '+' || c|0x20 == 'e'
}

// fitsDouble tells whether the server can read a number. Integers may be of
// any length.
func fitsDouble(number []byte, exponent bool) bool {
	const safe = 300 // so many digits without exponent are below 1.8e308
	if !exponent && (len(number) < safe || bytes.IndexByte(number, '.') < 0) {
		return true
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// invalidOffset returns where the first byte is that is not UTF-8.
func invalidOffset(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
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
		for entries := v.MapRange(); entries.Next(); {
			key, name := entries.Key(), "" // which is shown as unknown
			if key.Kind() == reflect.String {
				name = key.String()
				key = reflect.ValueOf(name) // methods of such keys are not called
			}
			if f.fault(key) {
				return true
			}
			if f.find(entries.Value()) {
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
		if option == "omitzero" && v.CanInterface() && !(v.Kind() == reflect.Pointer && v.IsNil()) {
			zero, ok := v.Interface().(interface{ IsZero() bool })
			return ok && zero.IsZero()
		}
	}
	return false
}
