package message

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"time"
)

// plainTypes caches isPlain by the type of the payload.
var plainTypes sync.Map // of reflect.Type to bool

// isSound reports whether the encoding of a plain type needs no further check.
// Its only possible faults are invalid text and the reserved key: encoding/json
// writes a NUL as an escape, and invalid UTF-8 as an escape or as U+FFFD.
func isSound(encoded []byte) bool {
	return bytes.IndexByte(encoded, '\\') < 0 && !bytes.Contains(encoded, []byte("\ufffd")) && !mayHoldReserved(encoded)
}

// hasPlainType reports whether a payload has a plain type.
func (e *Encoder) hasPlainType(payload any) bool {
	if t := reflect.TypeOf(payload); t != e.lastType {
		e.lastType, e.plain = t, hasPlainType(t)
	}
	return e.plain
}

func hasPlainType(t reflect.Type) bool {
	if known, ok := plainTypes.Load(t); ok {
		return known.(bool)
	}
	plain := isPlain(t, map[reflect.Type]bool{})
	plainTypes.Store(t, plain)
	return plain
}

var (
	timeType          = reflect.TypeFor[time.Time]()
	numberType        = reflect.TypeFor[json.Number]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// isPlain reports whether encoding/json alone determines the encoding of all
// values of a type, to a bounded depth: the type has no interfaces, no
// marshalers except time.Time, no raw JSON, no numbers as text and no
// recursion.
func isPlain(t reflect.Type, within map[reflect.Type]bool) bool {
	switch {
	case t == timeType:
		return true
	case t == numberType, within[t]:
		return false
	}
	for _, marshaler := range []reflect.Type{marshalerType, textMarshalerType} {
		if t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler) {
			return false
		}
	}
	within[t] = true
	defer delete(within, t)
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return isPlain(t.Elem(), within)
	case reflect.Map:
		return isPlain(t.Key(), within) && isPlain(t.Elem(), within)
	case reflect.Struct:
		for i := range t.NumField() {
			if !isPlain(t.Field(i).Type, within) {
				return false
			}
		}
		return true
	default:
		return false
	}
}
