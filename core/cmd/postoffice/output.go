package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// outputError means that stdout cannot be written.
type outputError struct{ err error }

func (e *outputError) Error() string { return "the result cannot be written: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// output writes results to stdout: JSON, one document a line, or text. The caller
// must flush it.
type output struct {
	buffer *bufio.Writer
	json   *json.Encoder
	asJSON bool
}

func (a *app) output() *output {
	buffer := bufio.NewWriter(a.stdout)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	return &output{buffer: buffer, json: encoder, asJSON: a.asJSON}
}

// write writes a value, as JSON or as the text that the function writes.
func (o *output) write(value any, text func(w io.Writer)) error {
	if o.asJSON {
		if err := o.json.Encode(value); err != nil {
			return &outputError{err}
		}
		return nil
	}
	text(o.buffer) // flush returns the error
	return nil
}

func (o *output) flush() error {
	if err := o.buffer.Flush(); err != nil {
		return &outputError{err}
	}
	return nil
}

// result writes the only result of a command.
func (a *app) result(value any, text func(w io.Writer)) error {
	o := a.output()
	if err := o.write(value, text); err != nil {
		return err
	}
	return o.flush()
}

// shown converts foreign text for one line on a terminal.
func shown(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// timeText formats a time: RFC 3339 in UTC, to the second; "-" for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// timeJSON returns a time for JSON: in UTC, to the microsecond; nil for none.
func timeJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t
}

// plural formats a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
