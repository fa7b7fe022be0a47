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

// Bounds of what a page shows of a text, in characters.
const (
	MaxName    = 64
	MaxPreview = 140
	MaxContent = 20_000
)

// How many bytes are read of a text for [Preview] and for [Content]. They hold
// at least one character more than is shown, so that the page shows that more
// follows. That of a preview leaves room for metadata, which come first.
const (
	ReadPreview = utf8.UTFMax*(MaxPreview+1) + 2000
	ReadContent = utf8.UTFMax * (MaxContent + 1)
)

// Shown makes a text of others fit to be shown in a line: at most so many
// characters, and those that are invisible, or change the direction or place
// of others, as escapes.
func Shown(text string, most int) string { return made(text, most, false) }

// ShownLines is Shown for a text of several lines.
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

// deceptive reports whether a character is a control character, or an
// invisible one that is not part of writing a language.
func deceptive(r rune) bool {
	switch r {
	case '\u200c', '\u200d': // joiners, in Persian and in emoji
		return false
	case '\u2028', '\u2029', '\u3164', '\uffa0', '\u115f', '\u1160':
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// Preview is the beginning of a payload without its metadata, in a line.
func Preview(payload []byte) string {
	payload, _ = metadata.Cut(payload[:min(len(payload), ReadPreview)])
	return Shown(string(payload), MaxPreview)
}

// Content is a payload or attributes for a page, made readable when it is JSON
// and short, and whether that is only the beginning. The text may be the first
// [ReadContent] bytes of what is stored, size is how many bytes are stored.
func Content(text []byte, size int) (shown string, cut bool) {
	whole := indented(text, MaxContent)
	return ShownLines(whole, MaxContent), size > utf8.UTFMax*MaxContent || utf8.RuneCountInString(whole) > MaxContent
}

// indented is JSON made readable, of which so many characters are to be shown,
// or its beginning as it came when it is long: what is cut need not be made
// readable as a whole.
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
