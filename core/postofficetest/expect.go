package postofficetest

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// The real server ignores an unknown Expect header. net/http answers it with 417 by
// itself, so the header gets another name between the connection and the handler.

// hiddenExpect is the other name.
const hiddenExpect = "Postofficetest-Expect"

// maxLine is the maximum length of a line of a head that is inspected.
const maxLine = 64 << 10

// expectListener hides the Expect headers of its connections.
type expectListener struct{ net.Listener }

// Accept implements net.Listener.
func (l expectListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &expectConn{Conn: conn}, nil
}

// showExpect restores the name of the header.
func showExpect(header http.Header) {
	if values := header[hiddenExpect]; values != nil {
		header["Expect"] = values
		delete(header, hiddenExpect)
	}
}

// expectConn follows the requests of an HTTP/1 connection from head to head.
type expectConn struct {
	net.Conn
	err  error
	out  []byte // bytes that can be passed on
	line []byte // the beginning of a line

	part part
	rest int64 // remaining bytes of the body or chunk
	// length and chunked describe the body according to the head.
	length  int64
	chunked bool
}

// part says what the next bytes of a connection belong to.
type part int

const (
	requestLine part = iota
	headers
	body
	chunkSize
	chunk
	chunkEnd
	trailers
	// opaque is HTTP/2 and everything else that is not parsed.
	opaque
)

// Read implements net.Conn.
func (c *expectConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.Conn.Read(p)
		if c.part == opaque || c.part == body && c.rest > int64(n) {
			c.rest -= int64(n)
			return n, err
		}
		c.feed(p[:n])
		switch {
		case len(c.out) > 0 && errors.Is(err, os.ErrDeadlineExceeded):
			// The next call returns it again. More may be read later.
		case errors.Is(err, os.ErrDeadlineExceeded) || n == 0 && err == nil:
			return 0, err
		case err != nil:
			c.out, c.line, c.part = append(c.out, c.line...), nil, opaque
			c.err = err
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// feed processes bytes that were read.
func (c *expectConn) feed(text []byte) {
	for len(text) > 0 {
		switch c.part {
		case opaque:
			c.out = append(c.out, text...)
			return
		case body, chunk:
			n := min(int64(len(text)), c.rest)
			c.out = append(c.out, text[:n]...)
			text = text[n:]
			if c.rest -= n; c.rest == 0 {
				c.part = map[part]part{body: requestLine, chunk: chunkEnd}[c.part]
			}
		default:
			end := bytes.IndexByte(text, '\n') + 1
			if end == 0 {
				end = len(text)
			}
			c.line = append(c.line, text[:end]...)
			text = text[end:]
			if c.line[len(c.line)-1] == '\n' {
				c.take()
			} else if len(c.line) > maxLine {
				c.part = opaque
			}
			if c.part == opaque {
				c.out, c.line = append(c.out, c.line...), nil
			}
		}
	}
}

// take processes a complete line of a head, or around a chunk.
func (c *expectConn) take() {
	line := strings.TrimRight(string(c.line), "\r\n")
	switch c.part {
	case requestLine:
		if strings.HasPrefix(line, "PRI * HTTP/2") {
			c.part = opaque
		} else if line != "" {
			c.part, c.length, c.chunked = headers, 0, false
		}
	case headers:
		c.header(line)
	case chunkSize:
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 63)
		switch {
		case err != nil || size < 0:
			c.part = opaque
		case size == 0:
			c.part = trailers
		default:
			c.part, c.rest = chunk, size
		}
	case chunkEnd:
		c.part = chunkSize
	case trailers:
		if line == "" {
			c.part = requestLine
		}
	}
	c.out, c.line = append(c.out, c.line...), nil
}

// header processes a header, or the empty line after the last.
func (c *expectConn) header(line string) {
	if line == "" {
		switch {
		case c.chunked:
			c.part = chunkSize
		case c.length > 0:
			c.part, c.rest = body, c.length
		default:
			c.part = requestLine
		}
		return
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch strings.ToLower(name) {
	case "content-length":
		length, err := strconv.ParseInt(value, 10, 64)
		if err != nil || length < 0 {
			c.part = opaque
		}
		c.length = length
	case "transfer-encoding":
		c.chunked = strings.EqualFold(value, "chunked")
		if !c.chunked {
			c.part = opaque
		}
	case "expect":
		if !strings.Contains(strings.ToLower(value), "100-continue") {
			c.line = append([]byte(hiddenExpect), c.line[len(name):]...)
		}
	}
}
