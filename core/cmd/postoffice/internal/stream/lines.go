package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the maximum length of a line in bytes. It is larger than any message that
// the client accepts, and small enough for memory.
const MaxLine = 8_000_000

// ErrLineTooLong means that a line has more than MaxLine bytes.
var ErrLineTooLong = fmt.Errorf("is longer than %d bytes, so it is not a message", MaxLine)

// Line is a non-blank line.
type Line struct {
	// Number is the number of the line in the input, from 1, blank lines included.
	Number int
	// Text is the line without surrounding white space. The caller owns it. Nil if
	// Err is set.
	Text []byte
	// End is the number of bytes of the input up to the end of this line.
	End int64
	// Err is ErrLineTooLong, or nil.
	Err error
}

// Reader reads the lines of an input. It skips a byte order mark at the beginning.
type Reader struct {
	input  *bufio.Reader
	number int
	end    int64
	failed error
}

// NewReader returns a Reader.
func NewReader(input io.Reader) *Reader {
	return &Reader{input: bufio.NewReaderSize(input, 64<<10)}
}

// Next returns the next non-blank line. The last line needs no line end. At the end of
// the input, Next returns io.EOF. After a read error it first returns all lines that were
// read, including an incomplete last line, and then the error.
func (r *Reader) Next() (Line, error) {
	for r.failed == nil {
		text, tooLong := r.read()
		if r.number == 0 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		r.number++
		text = bytes.Trim(text, " \t\r\n")
		switch {
		case tooLong:
			return Line{Number: r.number, End: r.end, Err: ErrLineTooLong}, nil
		case len(text) > 0:
			return Line{Number: r.number, End: r.end, Text: text}, nil
		}
	}
	return Line{}, r.failed
}

// read returns the text up to the end of the line or of the input, and nothing of a line
// that is too long.
func (r *Reader) read() (text []byte, tooLong bool) {
	for {
		part, err := r.input.ReadSlice('\n')
		r.end += int64(len(part))
		switch {
		case tooLong:
		case len(text)+len(part) > MaxLine+len("\r\n"):
			text, tooLong = nil, true
		default:
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			r.failed = err
			return text, tooLong
		}
	}
}
