// Package typednil detects interfaces that hold a nil value.
package typednil

import "reflect"

// Is reports whether a value is nil, or an interface that holds a nil pointer,
// function or map, whose methods would probably panic.
func Is(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan, reflect.UnsafePointer:
		return v.IsNil()
	default:
		return false
	}
}
