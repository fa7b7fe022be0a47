package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is how many bytes a line may have: more than any message that the
// client takes, and little enough to be held in memory.
const MaxLine = 8_000_000

// ErrLineTooLong means that a line has more than MaxLine bytes.
var ErrLineTooLong = fmt.Errorf("is longer than %d bytes, and so is no message", MaxLine)

// Line is a line that is not blank.
type Line struct {
	// Number counts all lines of the input, blank ones too, from 1.
	Number int
	// Text is the line without its end and without white space around it. It
	// belongs to the caller. Nil if there is an Err.
	Text []byte
	// End is how many bytes of the input were read with this line.
	End int64
	// Err is ErrLineTooLong, or nil.
	Err error
}

// Reader reads the lines of an input. A byte order mark before the first one
// is left out.
type Reader struct {
	input  *bufio.Reader
	number int
	end    int64
	failed error
}

// NewReader makes a Reader.
func NewReader(input io.Reader) *Reader {
	return &Reader{input: bufio.NewReaderSize(input, 64<<10)}
}

// Next returns the next line that is not blank. A last line needs no end. The
// error is io.EOF at the end of the input, or says why it cannot be read; the
// lines before it, and what there is of the last one, come first.
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

// read returns what is before the end of the line or of the input. Of a line
// that is too long it keeps nothing.
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
