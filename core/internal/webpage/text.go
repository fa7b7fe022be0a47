package webpage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
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

// Indented is JSON made readable, of which so many characters are to be shown,
// or its beginning as it came when it is long: what is cut need not be made
// readable as a whole.
func Indented(text json.RawMessage, most int) string {
	most *= utf8.UTFMax
	if len(text) <= most {
		var out bytes.Buffer
		if json.Indent(&out, text, "", "  ") == nil {
			return out.String()
		}
	}
	return string(text[:min(len(text), most)])
}
