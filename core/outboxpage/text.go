package outboxpage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a page shows of a text, in characters.
const (
	maxName    = 64
	maxPreview = 140
	maxReason  = 300
	maxPayload = 20_000
)

// shown makes a text of others fit to be shown in a line: at most so many
// characters, and those that are invisible, or change the direction or place
// of others, as escapes.
func shown(text string, most int) string { return made(text, most, false) }

// shownLines is shown for a text of several lines.
func shownLines(text string, most int) string { return made(text, most, true) }

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

// preview is the beginning of a payload, in a line.
func preview(text json.RawMessage) string {
	return shown(string(text[:min(len(text), utf8.UTFMax*(maxPreview+1))]), maxPreview)
}

// indented is JSON made readable, or as it came when it is long: what is cut
// need not be made readable as a whole.
func indented(text json.RawMessage) string {
	const most = utf8.UTFMax * maxPayload
	if len(text) <= most {
		var out bytes.Buffer
		if json.Indent(&out, text, "", "  ") == nil {
			return out.String()
		}
	}
	return string(text[:min(len(text), most)])
}

// isText reports whether a store can look for a text.
func isText(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
