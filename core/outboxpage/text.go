package outboxpage

import (
	"strings"
	"unicode/utf8"
)

// isText reports whether a text can be a parameter of a store's query.
func isText(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
