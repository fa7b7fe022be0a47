package postofficetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// changes reads the fields of a topic or consumer as the server casts them, and
// collects their errors.
type changes struct {
	fields map[string]json.RawMessage
	errors map[string][]string
	// overflow is set if a value fits its type, but not its column.
	overflow bool
}

func (c *changes) fail(field, reason string) {
	if c.errors == nil {
		c.errors = make(map[string][]string)
	}
	c.errors[field] = []string{reason}
}

// required reads a text that must not be blank.
func (c *changes) required(field string) string {
	raw := c.fields[field]
	text, ok := stringOf(raw)
	switch {
	case !ok && !isNull(raw):
		c.fail(field, "is invalid")
	case strings.TrimSpace(text) == "":
		c.fail(field, "can't be blank")
	}
	return text
}

// boolean reads a boolean, which may be a string; false if absent. Null is an error
// if required is set.
func (c *changes) boolean(field string, required bool) bool {
	raw, found := c.fields[field]
	if isNull(raw) {
		if found && required {
			c.fail(field, "can't be blank")
		}
		return false
	}
	switch string(raw) {
	case `true`, `"true"`, `"1"`:
		return true
	case `false`, `"false"`, `"0"`, `""`:
		return false
	}
	c.fail(field, "is invalid")
	return false
}

// integer reads a number, which may be a string. It returns absent if the field is
// absent, and null if it is null.
func (c *changes) integer(field string, absent, null int64) int64 {
	raw, found := c.fields[field]
	switch {
	case !found || string(raw) == `""`:
		return absent
	case isNull(raw):
		return null
	}
	number, err := integerOf(raw)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && number != int64(int32(number)):
		c.overflow = true
	case err != nil:
		c.fail(field, "is invalid")
	}
	return number
}

// integerOf parses a JSON integer or a string of one.
func integerOf(raw json.RawMessage) (int64, error) {
	text, ok := stringOf(raw)
	if !ok {
		text = string(raw)
	}
	return strconv.ParseInt(text, 10, 64)
}

// topicOf parses the body that creates a topic.
func topicOf(fields map[string]json.RawMessage) (Topic, *changes) {
	read := &changes{fields: fields}
	return Topic{
		Name:            read.required("name"),
		OriginHost:      read.required("origin_host"),
		RecoveryEnabled: read.boolean("recovery_enabled", false),
	}, read
}

// consumerOf parses the body that creates a consumer of the topic. seconds_retry is
// checked and has no effect.
func consumerOf(fields map[string]json.RawMessage, topic string) (Consumer, *changes) {
	read := &changes{fields: fields}
	consumer := Consumer{
		Topic:     topic,
		Target:    read.required("target"),
		Type:      read.required("type"),
		Paused:    !read.boolean("active", true),
		Deleted:   read.boolean("deleted", false),
		Timeout:   time.Duration(read.integer("seconds_timeout", int64(defaultTimeout/time.Second), int64(nullTimeout/time.Second))) * time.Second,
		ChunkSize: int(read.integer("chunk_size", defaultChunkSize, defaultChunkSize)),
	}
	read.integer("seconds_retry", 0, 0)
	if _, failed := read.errors["type"]; !failed && consumer.Type != TypeHTTP && consumer.Type != TypePubSub {
		read.fail("type", "is invalid")
	}
	return consumer, read
}

// AddTopic creates a topic without a request. It ignores ID. The error is
// [ErrTaken], or says that a text is too long.
func (s *Server) AddTopic(t Topic) error {
	_, err := s.createTopic(t)
	return setupError("topic", t.Name, err)
}

// AddConsumer creates a consumer without a request and returns its ID. It ignores ID
// and Heeded; a zero Type, Timeout or ChunkSize means its default. A paused or
// deleted consumer is heeded, as if the server had started with it. The error is
// [ErrTaken], or says that the topic is unknown or the target too long.
func (s *Server) AddConsumer(c Consumer) (int64, error) {
	if c.Type == "" {
		c.Type = TypeHTTP
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.ChunkSize == 0 {
		c.ChunkSize = defaultChunkSize
	}
	if c.Paused || c.Deleted {
		s.mu.Lock()
		s.heeds = true
		s.mu.Unlock()
	}
	id, err := s.createConsumer(c)
	return id, setupError("consumer of topic", c.Topic, err)
}

// SetPaused pauses a consumer or ends its pause, like an operator on the server's
// pages, and reports whether it exists; no API call can do this. Its jobs follow
// within 30 s of the clock: a pause is always heeded, see [Consumer].Heeded.
func (s *Server) SetPaused(id int64, paused bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	consumer := s.consumers[id]
	if consumer != nil {
		s.setPaused(consumer, paused)
		s.notify()
	}
	return consumer != nil
}

// setPaused pauses a consumer or ends its pause. The caller holds the mutex.
func (s *Server) setPaused(consumer *Consumer, paused bool) {
	consumer.Paused = paused
	consumer.Heeded = paused || consumer.Deleted && consumer.Heeded
	s.heeds = s.heeds || paused
}

func setupError(what, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("postofficetest: %s %q: %w", what, name, err)
}

// parseID parses the id at the end of a path, and reports whether it is a number and
// whether it fits.
func parseID(text string) (id int64, numeric, fits bool) {
	id, err := strconv.ParseInt(text, 10, 64)
	overflow := errors.Is(err, strconv.ErrRange)
	return id, err == nil || overflow, !overflow
}
