package postofficetest

import (
	"bytes"
	"encoding/json"
	"strings"
)

// encoding/json reads JSON nested up to 10,000 deep. The real server has no
// such limit where it parses; where it stores there are others.
const (
	// goDepth is up to where encoding/json reads.
	goDepth = 10_000
	// maxArrays is how many arrays in one another the server's database does
	// not store any more. 20,000 were seen to fail, and objects as deep not.
	maxArrays = 20_000
	// maxDigits is how many digits of an integer the database stores.
	maxDigits = 131_072
)

// wellFormed is json.Valid for any depth.
func wellFormed(text []byte) bool {
	if json.Valid(text) {
		return true
	}
	return bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) > goDepth && wellNested(text)
}

// wellNested checks the structure by hand and leaves strings, numbers and
// literals to encoding/json.
func wellNested(text []byte) bool {
	var open []byte // the brackets that are not closed
	const (
		value      = iota // a value must come
		valueOrEnd        // or the end of the array that was opened
		keyOrEnd          // a key, or the end of the object that was opened
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

// tokenEnd returns the index after the string, number or literal that starts
// at i, in text that need not be valid.
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

// storable reports whether the server's database takes a JSON value: no NUL,
// not too many arrays in one another, and no integer with too many digits. Of
// duplicate keys the first counts, and what follows may hold anything.
func storable(text json.RawMessage) bool {
	if len(text) < min(2*maxArrays, maxDigits) && !holdsNUL(text) {
		return true // as nearly every message
	}
	type container struct {
		keys   map[string]bool // of an object; nil for an array
		isNext bool            // a value comes next, and no key
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
