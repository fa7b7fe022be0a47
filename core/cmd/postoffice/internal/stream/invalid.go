package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/postoffice-go/postoffice/core"
)

// ErrTruncated means that a text ends before its JSON does, for example because the
// JSON document has several lines.
var ErrTruncated = errors.New("ends before its JSON does")

// InvalidLineError is the error of a line that is not a message.
type InvalidLineError struct {
	// Line is the number of the line.
	Line int
	// Err describes the problem, without the text of the line.
	Err error
}

// Error returns the number of the line and the problem.
func (e *InvalidLineError) Error() string { return fmt.Sprintf("line %d %v", e.Line, e.Err) }

// Unwrap returns the problem.
func (e *InvalidLineError) Unwrap() error { return e.Err }

// InvalidPayload returns the index of the payload that caused an error of Publish or
// PublishBulk, zero for Publish, and the problem. ok is false if a payload did not cause
// the error. If ok is true, nothing was published.
func InvalidPayload(err error) (index int, problem string, ok bool) {
	if !errors.Is(err, core.ErrInvalidMessage) {
		return 0, "", false
	}
	field, ok := errors.AsType[*core.FieldError](err)
	if !ok {
		return 0, "", false
	}
	path, ok := strings.CutPrefix(field.Field, "payload")
	if !ok {
		return 0, "", false
	}
	if rest, many := strings.CutPrefix(path, "["); many {
		var number string
		number, path, _ = strings.Cut(rest, "]")
		if index, err = strconv.Atoi(number); err != nil {
			return 0, "", false
		}
	}
	problem = field.Problem
	if path = strings.TrimPrefix(path, "."); path != "" {
		problem = "has " + path + ", which " + problem
	}
	return index, problem, true
}

// Explain returns the problem of a text that is not a message. The client's own problem
// texts refer to Go values, so they are only used for a JSON object.
func Explain(text []byte, problem string) error {
	var raw json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&raw)
	syntax, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case len(text) == 0:
		return errors.New("is empty; a message is a JSON object")
	case isSyntax:
		return fmt.Errorf("is not valid JSON at byte %d", syntax.Offset)
	case err != nil:
		return ErrTruncated
	case len(bytes.TrimSpace(text[decoder.InputOffset():])) > 0:
		return fmt.Errorf("has something after its JSON, at byte %d", decoder.InputOffset()+1)
	}
	switch raw[0] {
	case '{':
		return errors.New(problem)
	case '[':
		return errors.New("is a JSON list; a message is a JSON object, and each goes on a line of its own")
	case '"':
		return errors.New("is a JSON string; a message is a JSON object")
	case 't', 'f', 'n':
		return fmt.Errorf("is %s; a message is a JSON object", raw)
	default:
		return errors.New("is a number; a message is a JSON object")
	}
}
