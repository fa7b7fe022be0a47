package webpage

import (
	"net/http"
	"strconv"
)

// SetHeaders sets the headers of every response: the content security policy, and that
// the page is not cached and its address not sent to other sites.
func SetHeaders(header http.Header, policy string) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// Send sends a response with a body and its content type.
func Send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the browser may have disconnected
}

// SendPlain sends untrusted text, which the browser shows as plain text and in a
// sandbox, whatever it contains. policy is the content security policy of the page.
func SendPlain(w http.ResponseWriter, policy string, text []byte) {
	w.Header().Set("Content-Security-Policy", "sandbox; "+policy)
	Send(w, http.StatusOK, "text/plain; charset=utf-8", text)
}
