package message

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Problems that scanPayload finds.
const (
	problemSyntax    = "is not valid JSON"
	problemReserved  = "is a key that is reserved for metadata; add metadata with core.WithMetadata"
	problemNUL       = `contains a NUL (\u0000), which the server cannot store`
	problemSurrogate = "contains a lone surrogate escape, which is not a character"
	problemUTF8      = "is not valid UTF-8"
	problemNumber    = "is a number too large for a double"
	problemDigits    = "is a number with more than 5,000 integer digits, which takes the server too long to parse; send it as a string"
	problemDepth     = "is nested too deeply"
)

// scanState tells which token may come next in a JSON text.
type scanState uint8

const (
	wantValue   scanState = iota
	wantElement           // the first element of a list, or its end
	wantMember            // the first key of an object, or its end
	wantKey
	wantColon
	wantNext // a comma, or the end of the list or object
	wantEnd
)

// scanPayload checks that a text is one JSON value, and searches it for content
// that the server refuses or changes, and for the reserved key. It returns the
// problem and its offset, and whether the text contains U+FFFD. Depending on
// its version, encoding/json replaces invalid UTF-8 with U+FFFD as an escape or
// as three bytes.
func scanPayload(text []byte) (problem string, offset int, replaced bool) {
	var lists [maxPayloadDepth/64 + 1]uint64 // a bit for each open list
	depth, state, inList := 0, wantValue, false
	high := false // whether a string has a non-ASCII byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
		case '"':
			s := scannedString{end: nextSpecial(text, i+1)}
			if s.end == len(text) || text[s.end] != '"' {
				s = scanString(text, i)
			}
			if s.problem != "" {
				return s.problem, s.end, false
			}
			switch state {
			case wantValue, wantElement:
				state = wantNext
				if s.end+1 < len(text) && text[s.end+1] == ',' && depth > 0 { // likewise
					state = wantKey
					if inList {
						state = wantValue
					}
					s.end++
				}
			case wantKey, wantMember:
				if depth == 1 && isReserved(text[i+1:s.end], s.escaped) {
					return problemReserved, i, false
				}
				state = wantColon
				if s.end+1 < len(text) && text[s.end+1] == ':' { // without a turn of the loop
					state = wantValue
					s.end++
				}
			default:
				return problemSyntax, i, false
			}
			high, replaced = high || s.high, replaced || s.replaced
			i = s.end
		case ':':
			if state != wantColon {
				return problemSyntax, i, false
			}
			state = wantValue
		case ',':
			if state != wantNext || depth == 0 {
				return problemSyntax, i, false
			}
			state = wantKey
			if inList {
				state = wantValue
			}
		case '{', '[':
			if state != wantValue && state != wantElement {
				return problemSyntax, i, false
			}
			if depth++; depth > maxPayloadDepth {
				return problemDepth, 0, false
			}
			state, inList = wantMember, c == '['
			lists[depth>>6] &^= 1 << (depth & 63)
			if inList {
				state = wantElement
				lists[depth>>6] |= 1 << (depth & 63)
			}
		case '}', ']':
			empty := wantMember
			if c == ']' {
				empty = wantElement
			}
			if depth == 0 || state != empty && (state != wantNext || inList != (c == ']')) {
				return problemSyntax, i, false
			}
			depth--
			state, inList = wantNext, lists[depth>>6]>>(depth&63)&1 == 1
			if depth == 0 {
				state = wantEnd
			}
		default:
			if state != wantValue && state != wantElement {
				return problemSyntax, i, false
			}
			end, problem := scanScalar(text, i)
			if problem != "" {
				return problem, i, false
			}
			state = wantNext
			i = end - 1
		}
	}
	if state != wantEnd && (state != wantNext || depth > 0) {
		return problemSyntax, len(text), false
	}
	if high {
		if !utf8.Valid(text) {
			return problemUTF8, invalidOffset(text), false
		}
		replaced = replaced || bytes.Contains(text, []byte("\ufffd"))
	}
	return "", 0, replaced
}

// scannedString is a string of a JSON text.
type scannedString struct {
	end      int  // offset of the closing quote, or of the problem
	escaped  bool // it has an escape
	high     bool // it has a non-ASCII byte
	replaced bool // it has an escape of U+FFFD
	problem  string
}

// scanString checks the string whose opening quote is at i.
func scanString(text []byte, i int) (s scannedString) {
	for i = nextSpecial(text, i+1); i < len(text); i = nextSpecial(text, i+1) {
		switch c := text[i]; {
		case c == '"':
			s.end = i
			return s
		case c >= utf8.RuneSelf:
			s.high = true
		case c != '\\':
			return scannedString{end: i, problem: problemSyntax}
		default:
			last, replaced, problem := scanEscape(text, i)
			if problem != "" {
				return scannedString{end: i, problem: problem}
			}
			s.escaped, s.replaced = true, s.replaced || replaced
			i = last
		}
	}
	return scannedString{end: len(text), problem: problemSyntax}
}

// nextSpecial returns the offset, from i on, of the first special byte within a
// string: a quote, a backslash, a control character or a non-ASCII byte. It
// reads 8 bytes at a time, because payloads consist mostly of plain text in
// strings.
func nextSpecial(text []byte, i int) int {
	const (
		ones    = 0x0101010101010101
		tops    = 0x80 * ones
		quotes  = '"' * ones
		slashes = '\\' * ones
		spaces  = ' ' * ones
	)
	for ; i+8 <= len(text); i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		quote, slash := word^quotes, word^slashes
		// The lowest set top bit belongs to the first special byte.
		if special := (word | (quote-ones)&^quote | (slash-ones)&^slash | (word-spaces)&^word) & tops; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// scanEscape checks the escape whose backslash is at i. It returns the offset
// of the escape's last byte and whether the escape may replace invalid bytes.
func scanEscape(text []byte, i int) (last int, replaced bool, problem string) {
	if i+1 >= len(text) {
		return i, false, problemSyntax
	}
	switch text[i+1] {
	case 'u':
	case '\\':
		// A field with the option ",string" has its text escaped twice.
		return i + 1, bytes.HasPrefix(text[i+2:], []byte("ufffd")), ""
	case '"', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, false, ""
	default:
		return i, false, problemSyntax
	}
	unit, ok := codeUnit(text, i)
	switch {
	case !ok:
		return i, false, problemSyntax
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

// mayHoldReserved reports whether an unescaped JSON text may have the reserved
// key. It may also return true for a text with the key's name in another place.
func mayHoldReserved(text []byte) bool {
	return bytes.Contains(text, []byte(wire.MetadataKey))
}

// isReserved reports whether a key, the text between its quotes, is the
// reserved one.
func isReserved(key []byte, escaped bool) bool {
	const reserved = wire.MetadataKey // ASCII without characters that JSON escapes
	if !escaped {
		return string(key) == reserved
	}
	for i := range len(reserved) {
		if len(key) == 0 {
			return false
		}
		c, size := rune(key[0]), 1
		if c == '\\' {
			unit, ok := codeUnit(key, 0)
			if !ok {
				return false
			}
			c, size = unit, 6
		}
		if c != rune(reserved[i]) {
			return false
		}
		key = key[size:]
	}
	return len(key) == 0
}

// scanScalar checks the number or literal that begins at i and returns the
// offset of its end.
func scanScalar(text []byte, i int) (end int, problem string) {
	var literal string
	switch text[i] {
	case 't':
		literal = "true"
	case 'f':
		literal = "false"
	case 'n':
		literal = "null"
	default:
		end, exponent, ok := scanNumber(text, i)
		if !ok {
			return end, problemSyntax
		}
		if !exponent && end-i < safeDigits {
			return end, ""
		}
		return end, numberProblem(text[i:end])
	}
	if !bytes.HasPrefix(text[i:], []byte(literal)) {
		return i, problemSyntax
	}
	return i + len(literal), ""
}

// scanNumber returns the offset of the end of the number that begins at i, and
// whether it has an exponent.
func scanNumber(text []byte, i int) (end int, exponent, ok bool) {
	if text[i] == '-' {
		i++
	}
	digits := skipDigits(text, i)
	if digits == i || text[i] == '0' && digits > i+1 {
		return i, false, false
	}
	i = digits
	if i < len(text) && text[i] == '.' {
		if digits = skipDigits(text, i+1); digits == i+1 {
			return i, false, false
		}
		i = digits
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if digits = skipDigits(text, i); digits == i {
			return i, false, false
		}
		return digits, true, true
	}
	return i, false, true
}

// skipDigits returns the offset, from i on, of the first byte that is not a
// digit.
func skipDigits(text []byte, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

// safeDigits is a number of digits that keeps a number without exponent below
// 1.8e308.
const safeDigits = 300

// numberProblem returns the reason why the server cannot parse a number, or not
// fast enough.
func numberProblem(number []byte) string {
	integer := number
	if end := bytes.IndexAny(number, ".eE"); end >= 0 {
		integer = number[:end]
	}
	if len(bytes.TrimPrefix(integer, []byte("-"))) > maxIntegerDigits {
		return problemDigits
	}
	if len(integer) == len(number) {
		return ""
	}
	if _, err := strconv.ParseFloat(string(number), 64); err != nil {
		return problemNumber
	}
	return ""
}

// invalidOffset returns the offset of the first byte that is not valid UTF-8.
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
