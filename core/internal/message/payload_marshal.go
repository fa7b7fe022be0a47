package message

import (
	"bytes"
	"encoding/json"
	"errors"
)

// callMarshal encodes a payload with the app's encoder. It copies the text into
// the buffer, because the app may reuse its own memory.
func (e *Encoder) callMarshal(path string, payload any) (problem *Problem) {
	done := false
	defer func() {
		if reason := recover(); !done {
			problem = problemAt(path, "is %T, and Config.Marshal panics with %T", payload, reason)
			problem.Cause, _ = reason.(error)
		}
	}()
	text, err := e.marshal(payload)
	done = true
	if err != nil {
		problem = problemAt(path, "is %T, and Config.Marshal fails with %T", payload, err)
		problem.Cause = err
		return problem
	}
	text = bytes.Trim(text, " \t\r\n")
	_, _ = e.Write(text)
	return nil
}

// malformed returns the problem of text that is not JSON.
func malformed(path string, payload any, encoded []byte) *Problem {
	var raw json.RawMessage
	err := json.Unmarshal(encoded, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problemAt(path, "is %T, whose encoding is not valid JSON at byte %d", payload, syntax.Offset)
	}
	return problemAt(path, "is %T, whose encoding is not valid JSON", payload)
}
