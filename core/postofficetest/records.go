package postofficetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind is the kind of a [Record].
type Kind string

// Kinds of records, in the order in which they are restored.
const (
	TopicRecord    Kind = "topic"
	ConsumerRecord Kind = "consumer"
	MessageRecord  Kind = "message"
	JobRecord      Kind = "job"
	AttemptRecord  Kind = "attempt"
)

// RecordKey identifies a record.
type RecordKey struct {
	Kind   Kind
	Number int64
}

// Record is a part of a server's data, in the form in which programs keep it beyond
// their end. A [Journal] returns records, and [WithRecords] restores them.
type Record struct {
	RecordKey
	// Data is JSON; its structure may change with the version.
	Data []byte
}

// Shapes of the records' data.
type (
	topicData struct {
		Name, OriginHost string
		RecoveryEnabled  bool
		Messages         int
	}
	consumerData struct {
		Topic, Target, Type string
		Paused, Deleted     bool
		Timeout             time.Duration
		ChunkSize           int
	}
	messageData struct {
		Topic string
		// Strings instead of raw JSON, which would be compacted.
		Payload, Attributes *string `json:",omitempty"`
		Via                 Via
		AcceptedAt          time.Time
		DeliverAt           time.Time `json:",omitzero"`
		JobIDs              []int64
	}
	jobData struct {
		Messages []int64
		Consumer int64
		Target   *string `json:",omitempty"`
		StateOf  int64
		State    JobState
		Attempts int
		Due      time.Time
	}
	attemptData struct {
		Job       int64
		Attempt   int
		Message   int64
		Consumer  int64
		Target    string
		StartedAt time.Time
		Status    int    `json:",omitempty"`
		Err       string `json:",omitempty"`
	}
)

// jobsAfterRestart is how many job ids are skipped, at least, when records are
// restored: a server that crashed may have used ids that were not recorded, and
// consumers treat a known message-id as a repetition.
const jobsAfterRestart = 10_000

// WithRecords makes the server start with the data of another one. Listen fails if
// they are not the records of one server; the error says why. Jobs that have become
// due are tried at once. Ids of new jobs leave a gap, in case some were not
// recorded. Requests and rescuer runs are not restored.
func WithRecords(records []Record) Option {
	return func(s *settings) error {
		s.records = records
		return nil
	}
}

// restorer restores records into a server.
type restorer struct {
	server   *Server
	messages map[int64]*Message
	pending  []*job
}

// restore restores the records. The server is not in use yet.
func (s *Server) restore() error {
	records := slices.Clone(s.settings.records)
	s.settings.records = nil // release them
	order := []Kind{TopicRecord, ConsumerRecord, MessageRecord, JobRecord, AttemptRecord}
	slices.SortStableFunc(records, func(a, b Record) int {
		if kinds := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); kinds != 0 {
			return kinds
		}
		return int(a.Number - b.Number)
	})
	r := restorer{server: s, messages: make(map[int64]*Message)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, record := range records {
		if err := r.restore(record); err != nil {
			return fmt.Errorf("postofficetest: %s %d cannot be restored: %w", record.Kind, record.Number, err)
		}
	}
	s.trimRestored()
	if s.lastJob > 0 {
		s.lastJob = (s.lastJob + 2*jobsAfterRestart - 1) / jobsAfterRestart * jobsAfterRestart
	}
	for _, j := range r.pending {
		s.plan(j, j.due)
	}
	return nil
}

// trimRestored restores the history to what it was: consecutive messages up to the
// last one. Older ones are there because of their jobs.
func (s *Server) trimRestored() {
	first := len(s.messages)
	for first > 0 && (first == len(s.messages) || s.messages[first-1].Number+1 == s.messages[first].Number) {
		first--
	}
	s.messages = slices.Clone(s.messages[first:])
}

func (r *restorer) restore(record Record) error {
	switch record.Kind {
	case TopicRecord:
		return r.topic(record)
	case ConsumerRecord:
		return r.consumer(record)
	case MessageRecord:
		return r.message(record)
	case JobRecord:
		return r.job(record)
	case AttemptRecord:
		return r.attempt(record)
	default:
		return errors.New("unknown kind of record")
	}
}

func (r *restorer) topic(record Record) error {
	var data topicData
	if err := json.Unmarshal(record.Data, &data); err != nil {
		return err
	}
	if r.server.topics[data.Name] != nil {
		return errTaken
	}
	r.server.topics[data.Name] = &topic{Topic: Topic{
		ID: record.Number, Name: data.Name, OriginHost: data.OriginHost, RecoveryEnabled: data.RecoveryEnabled,
	}}
	r.server.topicNames = append(r.server.topicNames, data.Name)
	r.server.counts[data.Name] = data.Messages
	r.server.lastTopic = record.Number
	return nil
}

func (r *restorer) consumer(record Record) error {
	var data consumerData
	if err := json.Unmarshal(record.Data, &data); err != nil {
		return err
	}
	of := r.server.topics[data.Topic]
	if of == nil {
		return errUnknownTopic
	}
	restored := &Consumer{
		ID: record.Number, Topic: data.Topic, Target: data.Target, Type: data.Type,
		Paused: data.Paused, Deleted: data.Deleted, Heeded: data.Paused || data.Deleted,
		Timeout: data.Timeout, ChunkSize: data.ChunkSize,
	}
	of.consumers = append(of.consumers, restored)
	r.server.consumers[restored.ID] = restored
	r.server.heeds = r.server.heeds || restored.Heeded
	r.server.lastConsumer = restored.ID
	return nil
}

func (r *restorer) message(record Record) error {
	var data messageData
	if err := json.Unmarshal(record.Data, &data); err != nil {
		return err
	}
	payload, attributes := rawText(data.Payload), rawText(data.Attributes)
	if payload != nil && !validJSON(payload) || attributes != nil && !validJSON(attributes) {
		return errors.New("payload or attributes are not JSON")
	}
	restored := &Message{
		Number: record.Number, Topic: data.Topic, Payload: payload, Attributes: attributes,
		Via: data.Via, AcceptedAt: data.AcceptedAt, DeliverAt: data.DeliverAt, JobIDs: data.JobIDs,
	}
	r.messages[restored.Number] = restored
	r.server.messages = append(r.server.messages, restored)
	r.server.lastMessage = restored.Number
	return nil
}

func (r *restorer) job(record Record) error {
	var data jobData
	if err := json.Unmarshal(record.Data, &data); err != nil {
		return err
	}
	restored := &job{
		id: record.Number, consumer: r.server.consumers[data.Consumer], target: data.Target, stateOf: data.StateOf,
		state: data.State, attempts: data.Attempts, due: data.Due,
	}
	for _, number := range data.Messages {
		message := r.messages[number]
		if message == nil {
			return fmt.Errorf("message %d is missing", number)
		}
		restored.messages = append(restored.messages, message)
	}
	if restored.consumer == nil || len(restored.messages) == 0 {
		return errors.New("consumer or messages are missing")
	}
	if restored.state == Pending && newJob(restored.consumer, restored.messages...).state != Pending {
		return errors.New("it cannot be delivered, and should not be pending")
	}
	r.server.jobs = append(r.server.jobs, restored)
	r.server.lastJob = restored.id
	if restored.state == Pending {
		r.pending = append(r.pending, restored)
	}
	return nil
}

func (r *restorer) attempt(record Record) error {
	var data attemptData
	if err := json.Unmarshal(record.Data, &data); err != nil {
		return err
	}
	message := r.messages[data.Message]
	if message == nil {
		return fmt.Errorf("message %d is missing", data.Message)
	}
	restored := &attempt{message: message, Delivery: Delivery{
		JobID: data.Job, Attempt: data.Attempt, Topic: message.Topic, ConsumerID: data.Consumer,
		Target: data.Target, StartedAt: data.StartedAt, Status: data.Status,
	}}
	if data.Err != "" {
		restored.Err = errors.New(data.Err)
	}
	r.server.history = append(r.server.history, restored)
	r.server.attempted = int(record.Number)
	return nil
}

// rawText returns a text as JSON; nil if there is none.
func rawText(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}

// textOf is the inverse of rawText.
func textOf(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	text := string(raw)
	return &text
}
