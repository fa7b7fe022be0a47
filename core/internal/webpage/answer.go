package webpage

import (
	"net/http"
	"strconv"
)

// SetHeaders sets the headers of every answer: the page may load what its
// policy allows, is not kept, and tells no other site its address.
func SetHeaders(header http.Header, policy string) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// Send answers with a body of a content type.
func Send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a browser that is gone is no concern
}

// SendPlain answers with a text of others, which the browser shows as plain text
// and in a sandbox whatever it is. The policy is that of the page.
func SendPlain(w http.ResponseWriter, policy string, text []byte) {
	w.Header().Set("Content-Security-Policy", "sandbox; "+policy)
	Send(w, http.StatusOK, "text/plain; charset=utf-8", text)
}
