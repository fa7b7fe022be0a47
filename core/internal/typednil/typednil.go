// Package typednil finds interfaces that hold nothing to call.
package typednil

import "reflect"

// Is tells whether a value is nil, or an interface with a nil pointer, function
// or map in it, whose methods would most likely panic.
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
