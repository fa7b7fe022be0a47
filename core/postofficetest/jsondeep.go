package postofficetest

import (
	"bytes"
	"encoding/json"
	"strings"
)

// encoding/json parses JSON nested up to 10,000 deep. The real server has no such
// limit when it parses; when it stores it has others.
const (
	// goDepth is the maximum depth for encoding/json.
	goDepth = 10_000
	// maxArrays is the depth of nested arrays from which the server's database
	// rejects them. 20,000 were seen to fail; objects nested as deep were not.
	maxArrays = 20_000
	// maxDigits is the maximum number of digits of an integer in the database.
	maxDigits = 131_072
)

// wellFormed is json.Valid for any depth.
func wellFormed(text []byte) bool {
	if json.Valid(text) {
		return true
	}
	return bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) > goDepth && wellNested(text)
}

// wellNested checks the structure by hand, and strings, numbers and literals with
// encoding/json.
func wellNested(text []byte) bool {
	var open []byte // open brackets
	const (
		value      = iota // a value is required
		valueOrEnd        // a value or the end of the array
		keyOrEnd          // a key or the end of the object
		key
		colon
		commaOrEnd
	)
	expected := value
	for i := 0; i < len(text); {
		c := text[i]
		i++
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case (c == '{' || c == '[') && expected <= valueOrEnd:
			open = append(open, c)
			expected = valueOrEnd
			if c == '{' {
				expected = keyOrEnd
			}
		case c == ']' && len(open) > 0 && open[len(open)-1] == '[' && (expected == valueOrEnd || expected == commaOrEnd),
			c == '}' && len(open) > 0 && open[len(open)-1] == '{' && (expected == keyOrEnd || expected == commaOrEnd):
			open = open[:len(open)-1]
			expected = commaOrEnd
		case c == ',' && len(open) > 0 && expected == commaOrEnd:
			expected = value
			if open[len(open)-1] == '{' {
				expected = key
			}
		case c == ':' && expected == colon:
			expected = value
		case expected <= valueOrEnd || c == '"' && (expected == keyOrEnd || expected == key):
			end := tokenEnd(text, i-1)
			if !json.Valid(text[i-1 : end]) {
				return false
			}
			i = end
			if expected <= valueOrEnd {
				expected = commaOrEnd
			} else {
				expected = colon
			}
		default:
			return false
		}
	}
	return len(open) == 0 && expected == commaOrEnd
}

// tokenEnd returns the index after the string, number or literal that starts at i,
// in text that may be invalid.
func tokenEnd(text []byte, i int) int {
	if text[i] != '"' {
		return max(scalarEnd(text, i), i+1)
	}
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// storable reports whether the server's database accepts a JSON value: no NUL, not
// too many nested arrays, and no integer with too many digits. The first of
// duplicate keys counts; the others may contain anything.
func storable(text json.RawMessage) bool {
	if len(text) < min(2*maxArrays, maxDigits) && !holdsNUL(text) {
		return true // nearly every message
	}
	type container struct {
		keys   map[string]bool // keys of an object; nil for an array
		isNext bool            // a value comes next, not a key
	}
	var open []container
	arrays := 0
	for i := skip(text, 0); i < len(text); i = skip(text, i) {
		inObject := len(open) > 0 && open[len(open)-1].keys != nil
		switch c := text[i]; {
		case c == '}' || c == ']':
			if c == ']' {
				arrays--
			}
			open = open[:len(open)-1]
			i++
			continue
		case inObject && !open[len(open)-1].isNext:
			end := stringEnd(text, i)
			name, _ := stringOf(text[i:end])
			i = skip(text, end)
			if open[len(open)-1].keys[name] {
				i = valueEnd(text, i)
				continue
			}
			if strings.ContainsRune(name, 0) {
				return false
			}
			open[len(open)-1].keys[name], open[len(open)-1].isNext = true, true
			continue
		}
		if inObject {
			open[len(open)-1].isNext = false
		}
		switch c := text[i]; c {
		case '{':
			open = append(open, container{keys: make(map[string]bool)})
			i++
		case '[':
			open = append(open, container{})
			if arrays++; arrays >= maxArrays {
				return false
			}
			i++
		default:
			end := valueEnd(text, i)
			if c == '"' && holdsNUL(text[i:end]) || digitsOf(text[i:end]) > maxDigits {
				return false
			}
			i = end
		}
	}
	return true
}

// digitsOf counts the digits of an integer; 0 for anything else.
func digitsOf(value []byte) int {
	if c := value[0]; c != '-' && (c < '0' || c > '9') || isFloat(value) {
		return 0
	}
	return len(bytes.TrimPrefix(value, []byte{'-'}))
}
