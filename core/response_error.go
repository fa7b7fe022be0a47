package core

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// ResponseError is an unsuccessful response from the server, or from another
// HTTP server at its address, such as a proxy.
type ResponseError struct {
	// StatusCode is the HTTP status of the response.
	StatusCode int
	// Topic is the topic of the request; empty for none.
	Topic string
	// Method and URL are the method and URL of the request, without userinfo.
	Method, URL string
	// Location is the target of a redirect: only scheme and host, because the
	// rest may contain secrets. Empty for other responses. The client does not
	// follow redirects.
	Location string
	// Errors has the server's reasons by field; reasons without a field have
	// the key "detail". Nil if the response has none, such as a proxy's error
	// page.
	Errors map[string][]string
}

// Error returns the status, the topic and the server's reasons. If the response
// does not come from a Postoffice server, it includes the method and URL.
func (e *ResponseError) Error() string {
	who, hint := "server", e.hint()
	if hint != "" && e.URL != "" {
		who = e.Method + " " + e.URL
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s answered %d", who, e.StatusCode)
	if e.Topic != "" {
		fmt.Fprintf(&text, " for topic %q", e.Topic)
	}
	if e.Location != "" {
		text.WriteString(", a redirect to " + e.Location)
	}
	separator := ": "
	for _, field := range slices.Sorted(maps.Keys(e.Errors)) {
		text.WriteString(separator)
		separator = "; "
		if field != wire.DetailKey {
			text.WriteString(field + " ")
		}
		text.WriteString(strings.Join(e.Errors[field], ", "))
	}
	if hint != "" {
		text.WriteString(separator + hint)
	}
	return text.String()
}

// hint explains a response that a Postoffice server never gives to this client.
// It is empty for other responses.
func (e *ResponseError) hint() string {
	switch status := e.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return "a proxy in front of the server refuses the credentials in its URL, or requires some"
	case status < http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		status == http.StatusBadRequest && e.Errors == nil,
		status == http.StatusNotAcceptable && e.Errors == nil:
		return "this is not the address of a Postoffice server"
	}
	return ""
}

// errorOf returns the error of a response.
func errorOf(answer office.Answer) error {
	return &ResponseError{
		StatusCode: answer.Status, Topic: answer.Topic, Method: answer.Method, URL: answer.URL,
		Location: answer.Location, Errors: answer.Reasons,
	}
}
