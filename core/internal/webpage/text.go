package webpage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
)

// Maximum lengths of texts on a page, in characters.
const (
	MaxName    = 64
	MaxPreview = 140
	MaxContent = 20_000
)

// Bytes to read of a text for [Preview] and [Content]: at least one character more than
// is shown, so that a cut text can be detected. ReadPreview includes space for
// metadata, which comes first.
const (
	ReadPreview = utf8.UTFMax*(MaxPreview+1) + 2000
	ReadContent = utf8.UTFMax * (MaxContent + 1)
)

// Shown makes untrusted text safe to show in a line: it cuts the text after most
// characters, and escapes characters that are invisible or change the direction or
// position of others.
func Shown(text string, most int) string { return made(text, most, false) }

// ShownLines is Shown for text with several lines.
func ShownLines(text string, most int) string { return made(text, most, true) }

func made(text string, most int, lines bool) string {
	var out strings.Builder
	for i, r := range text {
		if most--; most < 0 {
			out.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError && strings.HasPrefix(text[i:], string(utf8.RuneError)):
			out.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case lines && (r == '\n' || r == '\t'):
			out.WriteRune(r)
		case deceptive(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// deceptive reports whether a character is a control character, or an invisible one
// that no language needs.
func deceptive(r rune) bool {
	switch r {
	case '\u200c', '\u200d': // joiners, in Persian and in emoji
		return false
	case '\u2028', '\u2029', '\u3164', '\uffa0', '\u115f', '\u1160':
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// Preview returns the beginning of a payload, without metadata, in one line.
func Preview(payload []byte) string {
	payload, _ = metadata.Cut(payload[:min(len(payload), ReadPreview)])
	return Shown(string(payload), MaxPreview)
}

// Content formats a payload or attributes for a page, indented if it is JSON and short.
// cut means that shown is only the beginning. text may be only the first [ReadContent]
// bytes of what is stored, size is the stored size in bytes.
func Content(text []byte, size int) (shown string, cut bool) {
	whole := indented(text, MaxContent)
	return ShownLines(whole, MaxContent), size > utf8.UTFMax*MaxContent || utf8.RuneCountInString(whole) > MaxContent
}

// indented returns indented JSON, or the unchanged beginning of a text that is longer
// than most characters or not JSON.
func indented(text []byte, most int) string {
	most *= utf8.UTFMax
	if len(text) <= most {
		var out bytes.Buffer
		if json.Indent(&out, text, "", "  ") == nil {
			return out.String()
		}
	}
	return string(text[:min(len(text), most)])
}
