package core

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

// maxMessageBytes bounds the payload, attributes and topic of a message
// together: below what the server takes as a body, with room for the rest.
const maxMessageBytes = 7_000_000

// maxIntegerDigits bounds the digits of an integer, and of what precedes the
// point of another number. The server's work grows with their square: 5,000
// take it 9 ms, 50,000 a second, and more than 131,072 it refuses in the end.
const maxIntegerDigits = 5000

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
// text, big.Int as a number, decimal types as their own MarshalJSON or
// MarshalText says, json.RawMessage as it is. The server keeps integers
// exactly; other numbers become doubles on its side, so exact decimals belong
// in strings. Of a key given twice in raw JSON it keeps
// the first. It overwrites a key "attributes" of the payload itself.
func encodePayload(field string, payload any) ([]byte, error) {
	encoder := payloadEncoders.Get().(*payloadEncoder)
	defer encoder.release()
	encoded, err := encoder.encode(field, payload)
	return bytes.Clone(encoded), err
}

const wantObject = "it must encode to a JSON object, as a map or a struct does"

// payloadEncoder is an encoder that keeps its set-up and its buffer between
// payloads.
type payloadEncoder struct {
	json   *json.Encoder
	buffer []byte
	size   int
	// turn differs between encoders: callers at the same time have
	// different ones.
	turn uint32
	// lastPlain is an empty batch without attributes for the last topic that
	// was found good, lastType the type of the last payload and plain whether
	// it is: an encoder mostly meets the same few.
	lastPlain batch
	lastType  reflect.Type
	plain     bool
}

// maxKeptBuffer bounds the buffers that are kept.
const maxKeptBuffer = 64 << 10

var payloadEncoders = sync.Pool{New: payloadEncoderMaker()}

func payloadEncoderMaker() func() any {
	var made atomic.Uint32
	return func() any {
		encoder := &payloadEncoder{turn: made.Add(1), lastPlain: batch{attributes: noAttributes}}
		encoder.json = json.NewEncoder(encoder)
		encoder.json.SetEscapeHTML(false)
		return encoder
	}
}

// release gives the encoder back: what it encoded is no longer used.
func (e *payloadEncoder) release() {
	if cap(e.buffer) > maxKeptBuffer {
		e.buffer = nil
	}
	payloadEncoders.Put(e)
}

// Write takes what was encoded, unless it is too large to be used.
func (e *payloadEncoder) Write(text []byte) (int, error) {
	e.size += len(text)
	if e.size <= maxMessageBytes+len("\n") {
		e.buffer = append(e.buffer, text...)
	}
	return len(text), nil
}

// encode is encodePayload with a result that belongs to the encoder.
func (e *payloadEncoder) encode(field string, payload any) ([]byte, error) {
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
	e.buffer, e.size = e.buffer[:0], 0
	err := e.json.Encode(payload)
	encoded, size := bytes.TrimSuffix(e.buffer, []byte("\n")), e.size-len("\n")
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
	if e.hasPlainType(payload) && isSound(encoded) {
		return encoded, nil
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

// Problems that scanPayload finds.
const (
	problemNUL       = `holds a NUL (\u0000), which the server cannot store`
	problemSurrogate = "holds a lone surrogate escape, which stands for no character"
	problemUTF8      = "is not valid UTF-8"
	problemNumber    = "is a number too large for a double"
	problemDigits    = "is a number with more than 5,000 digits before its point, which the server takes too long to read; send it as a string"
	problemDepth     = "is nested too deep"
)

// scanPayload looks through well-formed JSON for what the server refuses or
// changes. It returns the problem with the offset of its place, and whether
// the text has U+FFFD: encoding/json puts it, as an escape or as its three
// bytes, depending on the version, in the place of bytes that are not UTF-8.
func scanPayload(text []byte) (problem string, offset int, replaced bool) {
	var depth int
	high := false // a byte within a string is not ASCII
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

// nextSpecial returns the offset, from i on, of the first byte that counts
// within a string: a quote, a backslash, or one that is not ASCII. It looks at
// 8 bytes at a time, because most of a payload is plain text in strings.
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
		// The lowest top bit that is set belongs to the first special byte.
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

// numberProblem returns why the server cannot read a number, or not fast
// enough.
func numberProblem(number []byte, exponent bool) string {
	const safe = 300 // this many digits without an exponent are below 1.8e308
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
