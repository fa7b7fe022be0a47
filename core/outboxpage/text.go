package outboxpage

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// Bounds of what a page shows of a text, in characters.
const (
	maxName    = 64
	maxPreview = 140
	maxReason  = 300
	maxPayload = 20_000
)

// How many bytes are read of a text of which a page shows so many characters.
// They hold at least one character more, so that it shows that more comes, and
// one that is cut at their end is past what is shown.
const (
	readPreview = utf8.UTFMax * (maxPreview + 1)
	readPayload = utf8.UTFMax * (maxPayload + 1)
)

// preview is the beginning of a payload, in a line.
func preview(text json.RawMessage) string { return webpage.Shown(string(text), maxPreview) }

// isText reports whether a store can look for a text.
func isText(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
