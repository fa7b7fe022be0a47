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

// ErrTruncated means that a text ends in the middle of its JSON, as the first
// line of a document over several lines does.
var ErrTruncated = errors.New("ends before its JSON does")

// InvalidLineError is the error of an input that has a line which is no message.
type InvalidLineError struct {
	// Line is its number.
	Line int
	// Err says what is wrong with it, without its text.
	Err error
}

// Error tells the line and what is wrong with it.
func (e *InvalidLineError) Error() string { return fmt.Sprintf("line %d %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *InvalidLineError) Unwrap() error { return e.Err }

// InvalidPayload finds out which payload of a publish is no message, zero if
// it had only one, and what the client says is wrong with it. It is false if
// the error is another one; nothing was published if it is true.
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

// Explain says in the words of a text what is wrong with one that is no
// message. The client's words are about values of a Go program; they are
// kept where the text is a JSON object all the same.
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
