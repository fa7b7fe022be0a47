package exit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Diagnose adds an exit code and a hint to an error of the client. address is the
// server's, without credentials. A nil error stays nil, and an error with a code
// keeps it.
func Diagnose(err error, address string) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	code, hint := explain(err, address)
	return New(code, hint, err)
}

func explain(err error, address string) (code int, hint string) {
	switch {
	case errors.Is(err, core.ErrInvalidMessage):
		return Failed, ""
	case errors.Is(err, core.ErrUnhealthy):
		return Failed, "check the log of the server, and that " + address + " is a Postoffice server"
	case errors.Is(err, outbox.ErrFull):
		return Failed, "deliver or discard messages in the outbox, or free space on its disk"
	}
	switch responses, _ := responsesIn(err); {
	case len(responses) > 0:
		return explainResponse(responses[0])
	case errors.Is(err, context.DeadlineExceeded):
		return Unreachable, fmt.Sprintf("does the server at %s respond at all? If it is slow, set a longer --timeout or --bulk-timeout", address)
	}
	return Unreachable, fmt.Sprintf("is the server at %s running, and is this its address? (--url, POSTOFFICE_URL, or URL in the settings file)", address)
}

// explainResponse is explain for a response of the server.
func explainResponse(response *core.ResponseError) (code int, hint string) {
	switch status := response.StatusCode; {
	case UnknownTopic(response):
		return Failed, fmt.Sprintf("the server does not have the topic; create it with: postoffice configure topics --topic %q --origin-host ADDRESS-OF-THE-APP", response.Topic)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Failed, "the server, or a proxy in front of it, requires credentials: http://USER:PASSWORD@HOST in POSTOFFICE_URL or the settings file"
	case status < http.StatusBadRequest, status == http.StatusNotFound:
		return Failed, "is this the address of a Postoffice server? (--url, POSTOFFICE_URL, or URL in the settings file)"
	case status == http.StatusInternalServerError:
		return Unreachable, "the server fails, or cannot store the message: try again later, and check the log of the server if that does not help"
	case isTransient(status):
		return Unreachable, "the server, or a proxy in front of it, fails: try again later"
	}
	return Failed, ""
}

func isTransient(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests
}

// UnknownTopic reports whether the server does not have the topic.
func UnknownTopic(response *core.ResponseError) bool {
	switch response.StatusCode {
	case http.StatusBadRequest:
		return slices.Contains(response.Errors["topic"], "is invalid")
	case http.StatusNotAcceptable: // the status for a bulk request
		return slices.ContainsFunc(response.Errors["detail"], isTopicReason)
	}
	return false
}

// RefusedByServer reports whether every reason of an error is a response of the server,
// and whether all of these responses are permanent.
func RefusedByServer(err error) (refused, permanent bool) {
	responses, all := responsesIn(err)
	if !all || len(responses) == 0 {
		return false, false
	}
	return true, !slices.ContainsFunc(responses, func(response *core.ResponseError) bool {
		status := response.StatusCode
		return UnknownTopic(response) || status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge
	})
}

// responsesIn returns the server's responses in a tree of errors, and whether it
// contains nothing else, apart from names of errors such as core.ErrNotAccepted.
func responsesIn(err error) (responses []*core.ResponseError, all bool) {
	switch err := err.(type) { //nolint:errorlint // walks the tree itself
	case nil:
		return nil, true
	case *core.ResponseError:
		return []*core.ResponseError{err}, true
	case interface{ Unwrap() []error }:
		all = true
		for _, one := range err.Unwrap() {
			found, alone := responsesIn(one)
			responses = append(responses, found...)
			all = all && alone
		}
		return responses, all
	}
	if err == core.ErrNotAccepted { //nolint:errorlint // the error itself, not one that wraps it
		return nil, true
	}
	if beneath := errors.Unwrap(err); beneath != nil {
		return responsesIn(beneath)
	}
	return nil, false
}

// isTopicReason reports whether the server's reason is an unknown topic.
func isTopicReason(reason string) bool { return strings.EqualFold(reason, wire.BulkTopicError) }
