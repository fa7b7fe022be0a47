package core

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// ResponseError is an answer of the server that did not accept a request, or
// of whatever else answers at its address.
type ResponseError struct {
	// StatusCode is the HTTP status of the answer.
	StatusCode int
	// Topic is the topic that the request was about; empty for none.
	Topic string
	// Method and URL are those of the request; the URL has no userinfo.
	Method, URL string
	// Location is where a redirect leads: scheme and host alone, because the
	// rest may hold secrets. Empty for other answers. It is not followed.
	Location string
	// Errors holds the server's reasons by field, under "detail" those that
	// it gave for no field. Nil when it gave none, as a proxy's page does.
	Errors map[string][]string
}

// Error tells the status, the topic and the server's reasons. Of an answer that
// a Postoffice server does not give it tells the method and URL, too.
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

// hint says what an answer means that no Postoffice server gives to the
// client's requests; it is empty for others.
func (e *ResponseError) hint() string {
	switch status := e.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		return "something in front of the server refuses the credentials in its URL, or their lack"
	case status < http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		status == http.StatusBadRequest && e.Errors == nil,
		status == http.StatusNotAcceptable && e.Errors == nil:
		return "this is not the address of a Postoffice server"
	}
	return ""
}

// redirect returns the scheme and host that a Location header leads to from an
// address.
func redirect(from *url.URL, location string) string {
	if location == "" {
		return ""
	}
	to, err := from.Parse(location)
	if err != nil {
		return ""
	}
	return to.Scheme + "://" + to.Host
}
