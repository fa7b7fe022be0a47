package outboxpage

import (
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// Maximum lengths of an error on a page, in characters.
const (
	maxReason = 300
	// maxHead is the length of the line in a list; the rest can be unfolded.
	maxHead = 44
	// maxRest is the length of the rest.
	maxRest = 1000
)

// errorText is the error of a message: the first line and the rest.
type errorText struct{ Head, Rest string }

// errorOf shortens a message's last error for a row that shows the topic: it removes
// the package prefix and the topic.
func errorOf(text, topic string) errorText {
	text = plainError(text, topic)
	head, rest := text, ""
	if runes := []rune(text); len(runes) > maxHead {
		cut := maxHead
		// Cut at the end of a part or a word, unless the line gets too short.
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

// plainError removes the package prefix and the topic from an error.
func plainError(text, topic string) string {
	for _, prefix := range []string{"postoffice: ", "delivery: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.Replace(text, fmt.Sprintf(" for topic %q", topic), "", 1)
}
