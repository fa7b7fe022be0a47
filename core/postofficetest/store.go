package postofficetest

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Defaults of a consumer.
const (
	defaultTimeout   = 5 * time.Second
	nullTimeout      = 30 * time.Second
	defaultChunkSize = 20
)

// Reasons why the server does not accept something. A raised is one that causes an
// exception on the real server.
var (
	errUnknownTopic = errors.New("unknown topic")
	errTaken        = errors.New("has already been taken")
	errTopicCast    = raised("topic is not a string")
	errBulkTooMany  = errors.New("too many payloads")
	errBulkNoTopic  = errors.New("unknown topic of a bulk")
	errNotStorable  = raised("NUL, 20,000 nested arrays and integers of over 131,072 digits cannot be stored")
)

// raised is an exception of the real server: a 500 for a client, the end of a
// rescuer's run.
type raised string

func (r raised) Error() string { return string(r) }

// topic is a Topic with its consumers in the order of their creation.
type topic struct {
	Topic
	consumers []*Consumer
}

// store is the content of the real server's database. The server's mutex guards it.
type store struct {
	topics       map[string]*topic
	topicNames   []string
	consumers    map[int64]*Consumer
	heeds        bool // whether it respects paused and deleted consumers
	messages     []*Message
	counts       map[string]int // accepted messages by topic, including forgotten ones
	jobs         []*job
	lastTopic    int64
	lastConsumer int64
	lastJob      int64
	lastMessage  int64
}

func newStore() store {
	return store{
		topics:    make(map[string]*topic),
		consumers: make(map[int64]*Consumer),
		counts:    make(map[string]int),
	}
}

// tooLong reports whether the database rejects the text.
func tooLong(text string) bool {
	return utf8.RuneCountInString(text) > wire.MaxNameLength || strings.ContainsRune(text, 0)
}

// createTopic adds a topic and returns its id.
func (s *Server) createTopic(t Topic) (int64, error) {
	if tooLong(t.Name) || tooLong(t.OriginHost) {
		return 0, raised("value too long or with NUL")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastTopic++ // a rejected name uses an id as well
	if s.topics[t.Name] != nil {
		return 0, errTaken
	}
	t.ID = s.lastTopic
	s.topics[t.Name] = &topic{Topic: t}
	s.topicNames = append(s.topicNames, t.Name)
	s.notify()
	return t.ID, nil
}

// createConsumer adds a consumer and returns its id.
func (s *Server) createConsumer(c Consumer) (int64, error) {
	if tooLong(c.Target) {
		return 0, raised("value too long or with NUL")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := s.topics[c.Topic]
	if topic == nil {
		return 0, errUnknownTopic
	}
	s.lastConsumer++
	if slices.ContainsFunc(topic.consumers, func(other *Consumer) bool {
		return other.Target == c.Target && other.Type == c.Type
	}) {
		return 0, errTaken
	}
	c.ID = s.lastConsumer
	c.Heeded = s.heeds && (c.Paused || c.Deleted)
	topic.consumers = append(topic.consumers, &c)
	s.consumers[c.ID] = &c
	s.notify()
	return c.ID, nil
}

// deleteConsumer marks a consumer as deleted; false if it does not exist.
func (s *Server) deleteConsumer(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	consumer := s.consumers[id]
	if consumer == nil {
		return false
	}
	consumer.Deleted = true
	consumer.Heeded = consumer.Heeded || s.heeds
	s.notify()
	return true
}

// checkTopic reads the topic of a message's fields.
func checkTopic(fields map[string]json.RawMessage) (string, error) {
	raw, found := fields["topic"]
	if !found {
		return "", raised("topic is missing")
	}
	if isNull(raw) {
		return "", raised("topic is null")
	}
	name, ok := stringOf(raw)
	if !ok {
		return "", errTopicCast
	}
	if strings.ContainsRune(name, 0) {
		return "", raised("topic holds NUL")
	}
	return name, nil
}

// active returns the consumers of a topic that get jobs. The caller holds the mutex.
func (t *topic) active() []*Consumer {
	return slices.DeleteFunc(slices.Clone(t.consumers), func(c *Consumer) bool { return c.Deleted })
}

// receive accepts one message with all its top-level fields, some of which override
// what the server would set.
func (s *Server) receive(fields map[string]json.RawMessage, via Via) ([]int64, error) {
	name, err := checkTopic(fields)
	if err != nil {
		return nil, err
	}
	stored := true
	for key, value := range fields {
		stored = stored && !strings.ContainsRune(key, 0) && storable(value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := s.topics[name]
	if topic == nil {
		return nil, errUnknownTopic
	}
	consumers := topic.active()
	if !stored && len(consumers) > 0 {
		return nil, errNotStorable
	}
	if len(consumers) > wire.MaxJobs {
		return nil, raised("too many jobs")
	}
	message := s.accept(name, fields, via)
	for _, consumer := range consumers {
		created := newJob(consumer, message)
		if target, found := fields["target"]; found {
			override, _ := stringOf(target)
			created.target = &override
		}
		if override, found := fields["consumer_id"]; found {
			created.stateOf, _ = strconv.ParseInt(string(override), 10, 64) // no consumer has id 0
		}
		s.add(created, time.Time{})
	}
	s.notify()
	return slices.Clone(message.JobIDs), nil
}

// receiveScheduled accepts one message for a later time.
func (s *Server) receiveScheduled(fields map[string]json.RawMessage) ([]int64, error) {
	for _, key := range []string{"topic", "payload", "attributes", "schedule_at"} {
		if _, found := fields[key]; !found {
			return nil, raised(key + " is missing")
		}
	}
	name, err := checkTopic(fields)
	if err != nil {
		return nil, err
	}
	text, isText := stringOf(fields["schedule_at"])
	deliverAt, parsed := parseSchedule(text)
	stored := storable(fields["payload"]) && storable(fields["attributes"])
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := s.topics[name]
	if topic == nil {
		return nil, errUnknownTopic
	}
	consumers := topic.active()
	if len(consumers) > 0 && (!isText || !parsed || !stored || len(consumers) > wire.MaxJobs) {
		return nil, raised("schedule_at, payload or attributes cannot be stored")
	}
	message := s.accept(name, fields, Scheduled)
	if len(consumers) > 0 {
		message.DeliverAt = deliverAt
	}
	for _, consumer := range consumers {
		s.add(newJob(consumer, message), deliverAt)
	}
	s.notify()
	return slices.Clone(message.JobIDs), nil
}

// receiveBulk accepts a list of payloads, all or none.
func (s *Server) receiveBulk(fields map[string]json.RawMessage) ([]int64, error) {
	var payloads []json.RawMessage
	var count int
	switch kindOf(fields["payload"]) {
	case '[':
		payloads = itemsOf(fields["payload"])
		count = len(payloads)
	case '{':
		// The server counts an object's keys, but cannot store it.
		count = len(fieldsOf(fields["payload"]))
	default:
		return nil, raised("payload is not a list")
	}
	if count > s.settings.bulkLimit {
		return nil, errBulkTooMany
	}
	name, err := checkTopic(fields)
	if err != nil {
		return nil, err
	}
	_, attributed := fields["attributes"]
	stored := storable(fields["payload"]) && storable(fields["attributes"])
	s.mu.Lock()
	defer s.mu.Unlock()
	topic := s.topics[name]
	if topic == nil {
		return nil, errBulkNoTopic
	}
	consumers := topic.active()
	if len(consumers) > 0 && !attributed {
		return nil, raised("attributes are missing")
	}
	if len(consumers) > 0 && len(payloads) < count {
		return nil, raised("payload is not a list")
	}
	total := 0
	for _, consumer := range consumers {
		if consumer.Type == TypePubSub && consumer.ChunkSize < 1 {
			return nil, raised("chunk_size is not positive")
		}
		total += jobsFor(consumer, len(payloads))
	}
	switch {
	case total > wire.MaxJobs:
		return nil, raised("too many jobs")
	case total > 0 && !stored:
		return nil, errNotStorable
	}
	messages := make([]*Message, len(payloads))
	for i, payload := range payloads {
		messages[i] = s.accept(name, map[string]json.RawMessage{
			"payload": payload, "attributes": fields["attributes"],
		}, Bulk)
		messages[i].JobIDs = make([]int64, 0, len(consumers))
	}
	ids := make([]int64, 0, total)
	for _, consumer := range consumers {
		size := 1
		if consumer.Type == TypePubSub {
			size = consumer.ChunkSize
		}
		for chunk := range slices.Chunk(messages, size) {
			ids = append(ids, s.add(newJob(consumer, chunk...), time.Time{}))
		}
	}
	slices.Reverse(ids)
	s.notify()
	return ids, nil
}

// jobsFor returns how many jobs a consumer gets for a bulk.
func jobsFor(c *Consumer, payloads int) int {
	if c.Type != TypePubSub {
		return payloads
	}
	return int(math.Ceil(float64(payloads) / float64(c.ChunkSize)))
}

// accept records a message. The caller holds the mutex.
func (s *Server) accept(topic string, fields map[string]json.RawMessage, via Via) *Message {
	s.lastMessage++
	message := &Message{
		Number:     s.lastMessage,
		Topic:      topic,
		Payload:    fields["payload"],
		Attributes: fields["attributes"],
		Via:        via,
		AcceptedAt: s.clock(),
	}
	s.messages = remember(s.messages, message, s.settings.history)
	s.counts[topic]++
	return message
}

// add assigns an id to the job, stores it and schedules its delivery. The caller
// holds the mutex.
func (s *Server) add(created *job, at time.Time) int64 {
	s.lastJob++
	created.id = s.lastJob
	for _, message := range created.messages {
		message.JobIDs = slices.Insert(message.JobIDs, 0, created.id)
	}
	s.jobs = remember(s.jobs, created, s.settings.history)
	if created.state == Pending {
		s.plan(created, at)
	}
	return created.id
}

// remember appends to a history, and drops its older half when it holds twice its
// bound; zero means no bound.
func remember[T any](history []T, item T, bound int) []T {
	history = append(history, item)
	if bound > 0 && len(history) >= 2*bound {
		history = slices.Clone(history[len(history)-bound:])
	}
	return history
}
