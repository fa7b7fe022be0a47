package message

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// MaxBytes is the limit of the payload, attributes and topic of a message
// together. It is below the server's limit of a body, with a margin for the
// rest of the body.
const MaxBytes = 7_000_000

// maxIntegerDigits is the limit of the digits of an integer, and of the integer
// part of another number. The server's work grows with the square of the
// digits: it takes 9 ms for 5,000 digits and a second for 50,000, and it
// refuses more than 131,072.
const maxIntegerDigits = 5000

// maxPayloadDepth is the limit of nested objects and lists. JSON parsers on the
// way have limits of their own, such as 10,000 of encoding/json; no message
// needs so many.
const maxPayloadDepth = 1000

const wantObject = "it must encode to a JSON object, as a map or a struct does"

// Encoder encodes payloads as JSON, each once, and checks that the server
// accepts them and passes them on unchanged. It reuses its setup and its
// buffer. It is not safe for concurrent use.
//
// The encoding is that of encoding/json without HTML escaping: time.Time
// becomes RFC 3339 text, time.Duration a number of nanoseconds, []byte base64
// text, and big.Int a number; decimal types use their own MarshalJSON or
// MarshalText, and json.RawMessage is kept. The server keeps integers exactly
// and converts other numbers to doubles, so exact decimals must be strings. If
// raw JSON has a duplicate key, the server keeps the first. It overwrites a
// payload's key "attributes".
type Encoder struct {
	json   *json.Encoder
	buffer []byte
	size   int
	// Turn differs between encoders, so concurrent callers have different ones.
	Turn uint32
	// Topic is the last topic that the user of the encoder has checked.
	// lastType is the type of the last payload, and plain whether it is plain.
	// Both are cached because consecutive messages are usually alike.
	Topic    string
	lastType reflect.Type
	plain    bool
}

// maxKeptBuffer is the maximum size of a buffer that is reused.
const maxKeptBuffer = 64 << 10

var encoders = sync.Pool{New: encoderMaker()}

func encoderMaker() func() any {
	var made atomic.Uint32
	return func() any {
		encoder := &Encoder{Turn: made.Add(1)}
		encoder.json = json.NewEncoder(encoder)
		encoder.json.SetEscapeHTML(false)
		return encoder
	}
}

// NewEncoder returns an encoder. The caller must release it.
func NewEncoder() *Encoder { return encoders.Get().(*Encoder) }

// EncodePayload encodes one payload with an encoder of its own. The result
// belongs to the caller.
func EncodePayload(path string, payload any) ([]byte, *Problem) {
	encoder := NewEncoder()
	defer encoder.Release()
	encoded, problem := encoder.Encode(path, payload)
	return bytes.Clone(encoded), problem
}

// Release returns the encoder to the pool. Its results must not be used
// afterwards.
func (e *Encoder) Release() {
	if cap(e.buffer) > maxKeptBuffer {
		e.buffer = nil
	}
	encoders.Put(e)
}

// Write collects the encoded text, unless it is too large.
func (e *Encoder) Write(text []byte) (int, error) {
	e.size += len(text)
	if e.size <= MaxBytes+len("\n") {
		e.buffer = append(e.buffer, text...)
	}
	return len(text), nil
}

// Encode encodes and checks a payload. The path names the payload in the
// problem. A problem contains types and paths within the payload, never its
// values. The result is valid until the next Encode or Release.
func (e *Encoder) Encode(path string, payload any) ([]byte, *Problem) {
	switch payload := payload.(type) {
	case nil:
		return nil, problemAt(path, "is nil; %s", wantObject)
	case []byte:
		return nil, problemAt(path, "is []byte, which encodes to base64 text; pass json.RawMessage for what is JSON already")
	case string:
		if strings.HasPrefix(strings.TrimSpace(payload), "{") {
			return nil, problemAt(path, "is a string of JSON; pass json.RawMessage for what is JSON already")
		}
		return nil, problemAt(path, "is a string; %s", wantObject)
	}
	e.buffer, e.size = e.buffer[:0], 0
	err := e.json.Encode(payload)
	encoded, size := bytes.TrimSuffix(e.buffer, []byte("\n")), e.size-len("\n")
	if err != nil {
		return nil, encodingProblem(path, payload, err)
	}
	if size > MaxBytes {
		return nil, problemAt(path, "is too large: %d bytes, and the most is %d", size, MaxBytes)
	}
	if len(encoded) == 0 || encoded[0] != '{' {
		return nil, notObject(path, payload, encoded)
	}
	if len(encoded) == len("{}") && losesAll(payload) {
		return nil, problemAt(path, "is %T and encodes to {}: nothing of what it holds would be sent", payload)
	}
	if e.hasPlainType(payload) && isSound(encoded) {
		return encoded, nil
	}
	problem, offset, replaced := scanPayload(encoded)
	if problem != "" {
		return nil, problemAt(path+pathAt(encoded, offset), "%s", problem)
	}
	if replaced {
		if place, found := findInvalidText(payload); found {
			return nil, problemAt(path+place, "holds text that is not valid UTF-8")
		}
	}
	return encoded, nil
}

// Problems that scanPayload finds.
const (
	problemNUL       = `holds a NUL (\u0000), which the server cannot store`
	problemSurrogate = "holds a lone surrogate escape, which stands for no character"
	problemUTF8      = "is not valid UTF-8"
	problemNumber    = "is a number too large for a double"
	problemDigits    = "is a number with more than 5,000 digits before its point, which the server takes too long to read; send it as a string"
	problemDepth     = "is nested too deep"
)

// scanPayload searches well-formed JSON for values that the server refuses or
// changes. It returns the problem and its offset, and whether the text contains
// U+FFFD. Depending on its version, encoding/json writes U+FFFD as an escape or
// as three bytes in place of invalid UTF-8.
func scanPayload(text []byte) (problem string, offset int, replaced bool) {
	var depth int
	high := false // whether the string has a non-ASCII byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			for i = nextSpecial(text, i+1); i < len(text) && text[i] != '"'; i = nextSpecial(text, i+1) {
				if text[i] >= utf8.RuneSelf {
					high = true
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
			if problem := numberProblem(text[start:i+1], exponent); problem != "" {
				return problem, start, false
			}
		}
	}
	if high {
		if !utf8.Valid(text) {
			return problemUTF8, invalidOffset(text), false
		}
		replaced = replaced || bytes.Contains(text, []byte("\ufffd"))
	}
	return "", 0, replaced
}

// nextSpecial returns the offset, from i on, of the first special byte within a
// string: a quote, a backslash or a non-ASCII byte. It reads 8 bytes at a time,
// because most of a payload is plain text in strings.
func nextSpecial(text []byte, i int) int {
	const (
		ones    = 0x0101010101010101
		tops    = 0x80 * ones
		quotes  = '"' * ones
		slashes = '\\' * ones
	)
	for ; i+8 <= len(text); i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		quote, slash := word^quotes, word^slashes
		// The lowest set top bit belongs to the first special byte.
		if special := (word | (quote-ones)&^quote | (slash-ones)&^slash) & tops; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

// scanEscape checks the escape whose backslash is at i. It returns the offset
// of the escape's last byte and whether the escape may stand for replaced
// bytes.
func scanEscape(text []byte, i int) (last int, replaced bool, problem string) {
	if i+1 >= len(text) {
		return i, false, ""
	}
	if text[i+1] != 'u' {
		// A field with the option ",string" has its text escaped twice.
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

// numberProblem returns why the server cannot read a number, or not fast
// enough.
func numberProblem(number []byte, exponent bool) string {
	const safe = 300 // with up to this many digits and no exponent it is below 1.8e308
	if !exponent && len(number) < safe {
		return ""
	}
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
