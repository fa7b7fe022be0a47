package postofficetest

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The server's JSON differs from encoding/json's in ways that affect clients: the
// first of duplicate keys wins; invalid UTF-8, lone surrogates and numbers above
// float range are rejected. The functions below work on the bytes, so that a message
// needs no more memory than its text.

// validJSON reports whether the server would parse the text.
func validJSON(text []byte) bool {
	if !utf8.Valid(text) || !wellFormed(text) {
		return false
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			end := stringEnd(text, i)
			if !pairedSurrogates(text[i:end]) {
				return false
			}
			i = end
		case c == '-' || c >= '0' && c <= '9':
			end := scalarEnd(text, i)
			if isFloat(text[i:end]) {
				if _, err := strconv.ParseFloat(string(text[i:end]), 64); err != nil {
					return false
				}
			}
			i = end
		default:
			i++
		}
	}
	return true
}

// stringEnd returns the index after the string that starts at i, in valid JSON.
func stringEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// scalarEnd returns the index after the number or literal that starts at i.
func scalarEnd(text []byte, i int) int {
	for i < len(text) && !strings.ContainsRune(",]} \t\r\n:", rune(text[i])) {
		i++
	}
	return i
}

// valueEnd returns the index after the value that starts at i, in valid JSON.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = stringEnd(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	default:
		return scalarEnd(text, i)
	}
}

// skip returns the index of the first byte from i on that is neither white space nor
// a separator of values.
func skip(text []byte, i int) int {
	for i < len(text) && strings.ContainsRune(" \t\r\n,:", rune(text[i])) {
		i++
	}
	return i
}

// escapes calls yield with the code unit of each \u escape of a string and the index
// after it, until yield returns false.
func escapes(text []byte, yield func(unit uint64, next int) bool) {
	for i := 0; i < len(text); {
		next := bytes.IndexByte(text[i:], '\\')
		if next < 0 {
			return
		}
		i += next + 2
		if text[i-1] != 'u' {
			continue
		}
		unit, _ := strconv.ParseUint(string(text[i:i+4]), 16, 16)
		i += 4
		if !yield(unit, i) {
			return
		}
	}
}

// pairedSurrogates reports whether each surrogate of a string is one half of a pair.
func pairedSurrogates(text []byte) bool {
	paired, low := true, -1 // low: the index at which the escape of a low half must end
	escapes(text, func(unit uint64, next int) bool {
		switch {
		case low >= 0 && (next != low || unit < 0xDC00 || unit > 0xDFFF):
			paired = false
		case low >= 0:
			low = -1
		case unit >= 0xD800 && unit <= 0xDBFF:
			low = next + len(`\uDC00`)
		case unit >= 0xDC00 && unit <= 0xDFFF:
			paired = false
		}
		return paired
	})
	return paired && low < 0
}

// holdsNUL reports whether a string or key of the JSON text contains the character
// NUL, which PostgreSQL cannot store.
func holdsNUL(text []byte) bool {
	found := false
	escapes(text, func(unit uint64, _ int) bool {
		found = unit == 0
		return !found
	})
	return found
}

// kindOf returns the first byte of a JSON value, which determines its type; 0 if
// there is no value.
func kindOf(text json.RawMessage) byte {
	if len(text) == 0 {
		return 0
	}
	return text[0]
}

// isNull reports whether the value is absent or null.
func isNull(text json.RawMessage) bool {
	return kindOf(text) == 0 || kindOf(text) == 'n'
}

// stringOf returns the text of a JSON string, false for any other value.
func stringOf(text json.RawMessage) (string, bool) {
	if kindOf(text) != '"' {
		return "", false
	}
	if !bytes.Contains(text, []byte{'\\'}) {
		return string(text[1 : len(text)-1]), true
	}
	var value string
	err := json.Unmarshal(text, &value)
	return value, err == nil
}

// isFloat reports whether a JSON number is not written as an integer.
func isFloat(number []byte) bool { return bytes.ContainsAny(number, ".eE") }

// fieldsOf splits a JSON object into its fields, whose values remain parts of the
// text. The first of duplicate keys wins.
func fieldsOf(object json.RawMessage) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage)
	for i := skip(object, 1); object[i] != '}'; i = skip(object, i) {
		end := stringEnd(object, i)
		key, _ := stringOf(object[i:end])
		i = skip(object, end)
		end = valueEnd(object, i)
		if _, known := fields[key]; !known {
			fields[key] = object[i:end:end]
		}
		i = end
	}
	return fields
}

// itemsOf splits a JSON array into its items, which remain parts of the text.
func itemsOf(array json.RawMessage) []json.RawMessage {
	var items []json.RawMessage
	for i := skip(array, 1); array[i] != ']'; i = skip(array, i) {
		end := valueEnd(array, i)
		items = append(items, array[i:end:end])
		i = end
	}
	return items
}

// appendString appends a JSON string without escaping HTML.
func appendString(buffer []byte, text string) []byte {
	out := bytes.NewBuffer(buffer)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}

// renderedNumber returns a number as it arrives: integers of any size, other numbers
// as the nearest double.
func renderedNumber(number json.RawMessage) string {
	if !isFloat(number) {
		if integer, ok := new(big.Int).SetString(string(number), 10); ok {
			return integer.String() // removes the sign of -0
		}
	}
	value, _ := strconv.ParseFloat(string(number), 64)
	value += 0 // removes the sign of -0.0
	if value == math.Trunc(value) {
		text := strconv.FormatFloat(value, 'f', -1, 64)
		if bytes.ContainsAny(number, "eE") || math.Abs(value) >= 1e15 {
			return text
		}
		return text + ".0"
	}
	return strconv.FormatFloat(value, 'g', -1, 64)
}
