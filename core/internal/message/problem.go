package message

import "fmt"

// Problem is the reason why a message is invalid for the server or the client.
type Problem struct {
	// Path names the part of the message, such as "topic", "payload.user.name"
	// or "payload[7]".
	Path string
	// Text describes the problem. It never contains the value.
	Text string
	// Cause is the underlying error, if there is one. Its text may contain the
	// value.
	Cause error
}

// Error returns the path and the text.
func (p *Problem) Error() string { return p.Path + " " + p.Text }

func problemAt(path, format string, args ...any) *Problem {
	return &Problem{Path: path, Text: fmt.Sprintf(format, args...)}
}
