package outboxpage

import (
	"strings"
	"unicode/utf8"
)

// isText reports whether a store can look for a text.
func isText(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
