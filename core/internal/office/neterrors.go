package office

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// isTimeout reports whether a request failed because of a timeout.
func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// connectionBroke reports whether an established connection ended before the
// response, for example because the server closed it just when it was reused.
func connectionBroke(err error) bool {
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, cause) {
			return true
		}
	}
	// net/http does not export these errors.
	for _, text := range []string{
		"server closed idle connection",
		"http2: client connection lost", // no response to a ping
		"http2: server sent GOAWAY and closed the connection",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
