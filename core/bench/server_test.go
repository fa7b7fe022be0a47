package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// forever is the delay of a server that never answers.
	forever = time.Duration(math.MaxInt64)
	// requestsPerConnection is how many requests a connection takes.
	requestsPerConnection = 1000
)

// server takes messages over HTTP/1.1 and answers them as Postoffice does for
// a topic with one consumer. It does no more than it must, so that the cost
// of a request is that of the client. The answer to a bulk request has one id
// rather than one for each payload.
type server struct {
	listener net.Listener
	address  string
	messages atomic.Int64
	requests atomic.Int64
	delay    atomic.Int64
	model    atomic.Pointer[model]
	group    sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	connections map[net.Conn]bool
}

func newServer() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{listener: listener, address: listener.Addr().String(), connections: map[net.Conn]bool{}}
	s.group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !s.keep(conn) {
				return
			}
			s.group.Go(func() {
				defer s.drop(conn)
				// The end of a connection is the client's business.
				_ = s.serve(conn)
			})
		}
	})
	return s, nil
}

// keep remembers an open connection, unless the server is closed.
func (s *server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.connections[conn] = true
	return true
}

func (s *server) drop(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, conn)
}

// close makes the server refuse connections, and ends those it has.
func (s *server) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.connections {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
}

// serve answers the requests of a connection.
func (s *server) serve(conn net.Conn) error {
	reader := bufio.NewReaderSize(conn, 64<<10)
	var body []byte
	for request := 1; request <= requestsPerConnection; request++ {
		bulk, length, err := readHead(reader)
		if err != nil {
			return err
		}
		body = slices.Grow(body[:0], length)[:length]
		if _, err := io.ReadFull(reader, body); err != nil {
			return err
		}
		if s.take(body) == forever {
			_, err := reader.ReadByte() // until the client gives up
			return err
		}
		answer := answers[bulk][request == requestsPerConnection]
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
	return nil
}

// take counts the messages of a request and spends its time, unless that is
// forever.
func (s *server) take(body []byte) time.Duration {
	payloads := bytes.Count(body, []byte(mark))
	s.messages.Add(int64(payloads))
	s.requests.Add(1)
	if m := s.model.Load(); m != nil {
		m.work(payloads)
	}
	delay := time.Duration(s.delay.Load())
	if delay != forever {
		time.Sleep(delay)
	}
	return delay
}

// answers are those to requests by whether they are bulk requests, and
// whether they are the last of their connection.
var answers = map[bool]map[bool][]byte{
	false: {false: answer(`{"id":[1]}`, ""), true: answer(`{"id":[1]}`, "connection: close\r\n")},
	true:  {false: answer(`{"result":[1]}`, ""), true: answer(`{"result":[1]}`, "connection: close\r\n")},
}

func answer(body, header string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 201 Created\r\n"+header+
		"cache-control: max-age=0, private, must-revalidate\r\n"+
		"content-length: %d\r\n"+
		"content-type: application/json; charset=utf-8\r\n"+
		"server: Cowboy\r\n\r\n%s", len(body), body)
}

// readHead reads a request up to its body.
func readHead(reader *bufio.Reader) (bulk bool, length int, err error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return false, 0, err
	}
	bulk = bytes.Contains(line, []byte("bulk_messages"))
	length = -1
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return false, 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return false, 0, err
			}
		}
	}
	if length < 0 {
		return false, 0, errors.New("the request does not tell the length of its body")
	}
	return bulk, length, nil
}
