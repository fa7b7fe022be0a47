package postofficetest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Limits of a request's head, above which the answer is 431.
const (
	maxHeaders     = 100
	maxHeaderBytes = 8 << 10
)

// answer is the server's answer to a request. A nil value has no body.
type answer struct {
	status int
	value  any
}

// fields are the reasons of an error by invalid field.
type fields map[string][]string

// dataAnswer wraps the value as the server does in most of its answers.
func dataAnswer(status int, value any) answer {
	return answer{status, map[string]any{"data": value}}
}

// dataErrors is an error answer with reasons by field, or with one text.
func dataErrors(status int, reasons any) answer {
	return dataAnswer(status, map[string]any{"errors": reasons})
}

// plainError is an error answer that contains only the status.
func plainError(status int) answer {
	return answer{status, map[string]any{
		"errors": map[string]string{wire.DetailKey: http.StatusText(status)},
	}}
}

// serve answers one request: it is recorded, then passed through the faults, and
// then processed.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if c := connectionOf(r); c != nil && c.requests.Add(1) == requestsPerConnection {
		w.Header().Set("Connection", "close")
	}
	showExpect(r.Header)
	if headTooLarge(r) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	// Read the body first: until then, net/http does not notice that a client has
	// given up.
	body, err := s.read(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	recorded := s.record(r, body)
	injected := s.meet(w, r, body)
	if !injected.answered {
		given := s.process(r, body)
		if injected.drop {
			panic(http.ErrAbortHandler)
		}
		// Record first, so that a client that has its answer finds it.
		s.recordStatus(recorded, given.status)
		write(w, given)
		return
	}
	s.recordStatus(recorded, injected.failure.status)
	injected.failure.write(w)
}

// read reads a body up to its limit, or one byte more. The slice is no larger than
// that, because it is kept.
func (s *Server) read(r *http.Request) ([]byte, error) {
	limit := int64(s.settings.bodyLimit) + 1
	if r.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(r.Body, limit))
	}
	body := make([]byte, min(r.ContentLength, limit))
	_, err := io.ReadFull(r.Body, body)
	return body, err
}

// headTooLarge checks the number and size of the headers, including Host.
func headTooLarge(r *http.Request) bool {
	count := 1
	for _, values := range r.Header {
		count += len(values)
		if slices.ContainsFunc(values, func(value string) bool { return len(value) > maxHeaderBytes }) {
			return true
		}
	}
	return count > maxHeaders
}

// process finds the route like the real server: parameters, overridden method, path,
// content negotiation, in this order.
func (s *Server) process(r *http.Request, body []byte) answer {
	parameters, fromBody, refused := s.parameters(r, body)
	if refused != 0 {
		return plainError(int(refused))
	}
	method := r.Method
	switch method {
	case http.MethodHead:
		method = http.MethodGet
	case http.MethodPost:
		override, _ := stringOf(fromBody["_method"])
		if override = strings.ToUpper(override); slices.Contains([]string{http.MethodPut, http.MethodPatch, http.MethodDelete}, override) {
			method = override
		}
	}
	path := segmentsOf(r.URL)
	if method == http.MethodPost && s.settings.cost != (Cost{}) {
		s.spend(r, s.settings.cost.of(path, body, parameters))
	}
	action := s.route(method, path)
	if action == nil {
		return plainError(http.StatusNotFound)
	}
	if !acceptable(r, parameters) {
		return plainError(http.StatusNotAcceptable)
	}
	return action(parameters)
}

// action answers a request after routing.
type action func(parameters map[string]json.RawMessage) answer

// route returns the action of a method and path; nil if there is none.
func (s *Server) route(method string, segments []string) action {
	if len(segments) < 2 || len(segments) > 3 {
		return nil
	}
	path := "/" + segments[0] + "/" + segments[1]
	if len(segments) == 2 {
		switch method + " " + path {
		case "GET " + wire.HealthPath:
			return s.health
		case "POST " + wire.TopicsPath:
			return s.postTopic
		case "POST " + wire.ConsumersPath:
			return s.postConsumer
		case "POST " + wire.MessagePath:
			return s.postMessage
		case "POST " + wire.BulkPath:
			return s.postBulk
		case "POST " + wire.SchedulePath:
			return s.postScheduled
		}
		return nil
	}
	switch {
	case method == http.MethodDelete && path == wire.ConsumersPath:
		return func(map[string]json.RawMessage) answer { return s.deleteByID(segments[2]) }
	case method == http.MethodGet && slices.Contains([]string{wire.TopicsPath, wire.MessagePath, wire.BulkPath, wire.SchedulePath}, path):
		// Routes of the real server that lead nowhere.
		return func(map[string]json.RawMessage) answer { return plainError(http.StatusInternalServerError) }
	}
	return nil
}

func (s *Server) health(map[string]json.RawMessage) answer {
	if s.faults.unwell() {
		return answer{http.StatusOK, wire.HealthAnswer{Status: "ko"}}
	}
	return answer{http.StatusOK, wire.HealthAnswer{Status: "ok"}}
}

func (s *Server) postTopic(parameters map[string]json.RawMessage) answer {
	topic, read := topicOf(parameters)
	if read.errors != nil {
		return dataErrors(http.StatusBadRequest, read.errors)
	}
	id, err := s.createTopic(topic)
	switch {
	case errors.Is(err, errTaken):
		return dataErrors(http.StatusConflict, fields{"name": {errTaken.Error()}})
	case err != nil:
		return plainError(http.StatusInternalServerError)
	}
	return dataAnswer(http.StatusCreated, map[string]any{"id": id, "name": topic.Name})
}

func (s *Server) postConsumer(parameters map[string]json.RawMessage) answer {
	name, err := checkTopic(parameters)
	if err == nil && !s.hasTopic(name) {
		err = errUnknownTopic
	}
	if err != nil {
		return messageError(err)
	}
	consumer, read := consumerOf(parameters, name)
	if read.errors != nil {
		return dataErrors(http.StatusBadRequest, read.errors)
	}
	if read.overflow {
		return plainError(http.StatusInternalServerError)
	}
	switch _, err := s.createConsumer(consumer); {
	case errors.Is(err, errTaken):
		return dataErrors(http.StatusConflict, fields{"target": {errTaken.Error()}})
	case err != nil:
		return messageError(err)
	}
	return dataAnswer(http.StatusCreated, struct{}{})
}

func (s *Server) deleteByID(text string) answer {
	id, numeric, fits := parseID(text)
	switch {
	case !numeric:
		return plainError(http.StatusBadRequest)
	case !fits:
		return plainError(http.StatusInternalServerError)
	case !s.deleteConsumer(id):
		return dataErrors(http.StatusBadRequest, "Anything has wrong")
	}
	return answer{status: http.StatusNoContent}
}

func (s *Server) postMessage(parameters map[string]json.RawMessage) answer {
	ids, err := s.receive(parameters, Single)
	return messageAnswer(ids, err)
}

func (s *Server) postScheduled(parameters map[string]json.RawMessage) answer {
	ids, err := s.receiveScheduled(parameters)
	return messageAnswer(ids, err)
}

func (s *Server) postBulk(parameters map[string]json.RawMessage) answer {
	ids, err := s.receiveBulk(parameters)
	switch {
	case errors.Is(err, errBulkTooMany):
		return dataErrors(http.StatusNotAcceptable, wire.BulkLimitError)
	case errors.Is(err, errBulkNoTopic):
		return dataErrors(http.StatusNotAcceptable, wire.BulkTopicError)
	case err != nil:
		return messageError(err)
	}
	return answer{http.StatusCreated, wire.BulkAnswer{Result: ids}}
}

func messageAnswer(ids []int64, err error) answer {
	if err != nil {
		return messageError(err)
	}
	if ids == nil {
		ids = []int64{} // [] instead of null
	}
	return answer{http.StatusCreated, wire.MessageAnswer{ID: ids}}
}

// messageError returns the answer for something that was not accepted.
func messageError(err error) answer {
	switch {
	case errors.Is(err, errUnknownTopic):
		return dataErrors(http.StatusBadRequest, fields{"topic": {"is invalid"}})
	case errors.Is(err, errTopicCast):
		return plainError(http.StatusBadRequest)
	default:
		return plainError(http.StatusInternalServerError)
	}
}

// write sends an answer with the headers of the real server.
func write(w http.ResponseWriter, given answer) {
	if given.status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close")
	}
	var body []byte
	if given.value != nil {
		body, _ = json.Marshal(given.value) // numbers and strings always encode
	}
	writeBody(w, given.status, "application/json; charset=utf-8", body)
}

// writeBody sends a status and a body, if there is one.
func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Cache-Control", "max-age=0, private, must-revalidate")
	header.Set("Server", "Cowboy")
	if len(body) > 0 {
		header.Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
