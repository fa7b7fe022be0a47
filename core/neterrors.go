package core

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// isTimeout tells whether a request failed because its time was up.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// connectionBroke tells whether an established connection ended before the
// answer, as one does that the server closes at the moment it is used again.
func connectionBroke(err error) bool {
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, cause) {
			return true
		}
	}
	// net/http keeps its own errors for itself.
	for _, text := range []string{
		"server closed idle connection",
		"http2: client connection lost", // no answer to a ping
		"http2: server sent GOAWAY and closed the connection",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
