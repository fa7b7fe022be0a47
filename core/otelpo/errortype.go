package otelpo

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"

	"github.com/postoffice-go/postoffice/core"
)

// errorType returns the error.type of an error: one of few values, none of which
// comes from a message.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	if response, ok := errors.AsType[*core.ResponseError](err); ok {
		return strconv.Itoa(response.StatusCode)
	}
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, core.ErrInvalidMessage):
		return "invalid_message"
	case errors.Is(err, core.ErrClosed):
		return "closed"
	case errors.Is(err, core.ErrNoTransactions):
		return "no_transactions"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNetwork && network.Timeout():
		return "timeout"
	case isNetwork, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "network"
	case errors.Is(err, core.ErrBreakerOpen):
		return "breaker_open"
	case errors.Is(err, core.ErrOutboxFull):
		return "outbox_full"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
