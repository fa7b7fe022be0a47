package outboxpage

import (
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// Bounds of what a page shows of an error, in characters.
const (
	maxReason = 300
	// maxHead bounds the line of an error in a list; the rest is unfolded.
	maxHead = 44
	// maxRest bounds the rest.
	maxRest = 1000
)

// errorText is an error of a message: a line, and the rest of it.
type errorText struct{ Head, Rest string }

// errorOf makes a message's last error fit for a row that names the topic: without
// the prefix that all errors have and without the topic.
func errorOf(text, topic string) errorText {
	text = plainError(text, topic)
	head, rest := text, ""
	if runes := []rune(text); len(runes) > maxHead {
		cut := maxHead
		// At the end of a part or a word, unless that leaves little.
		for _, separator := range []string{": ", "; ", " "} {
			if at := strings.LastIndex(string(runes[:maxHead+1]), separator); at >= maxHead/3 {
				cut = len([]rune(string(runes[:maxHead+1])[:at+len(strings.TrimRight(separator, " "))]))
				break
			}
		}
		head, rest = string(runes[:cut]), strings.TrimSpace(string(runes[cut:]))
	}
	return errorText{webpage.Shown(head, maxHead+1), webpage.Shown(rest, maxRest)}
}

// plainError leaves out the prefix of an error and the topic, which stands beside it.
func plainError(text, topic string) string {
	for _, prefix := range []string{"postoffice: ", "delivery: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.Replace(text, fmt.Sprintf(" for topic %q", topic), "", 1)
}
