package message

import (
	"strings"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// CheckTopic reports an invalid topic name.
func CheckTopic(path, topic string) *Problem {
	if strings.TrimSpace(topic) == "" {
		return problemAt(path, "is blank")
	}
	return CheckName(path, topic)
}

// CheckName reports a name that the server cannot store.
func CheckName(path, name string) *Problem {
	if !utf8.ValidString(name) {
		return problemAt(path, "is not valid UTF-8")
	}
	if strings.IndexByte(name, 0) >= 0 {
		return problemAt(path, "contains a NUL")
	}
	if length := utf8.RuneCountInString(name); length > wire.MaxNameLength {
		return problemAt(path, "has %d characters; the server accepts at most %d", length, wire.MaxNameLength)
	}
	return nil
}
