package postofficetest

import (
	"net/http"
	"slices"
	"time"
)

// Request is a request that the server received.
type Request struct {
	// At is when it came, by the server's clock.
	At time.Time
	// Method and Path are as sent; the path holds the query string.
	Method, Path string
	// Header holds the header without the host.
	Header http.Header
	// Body is what was read of the body: of one over the limit, a part.
	Body []byte
	// Status is the answer's; zero as long as there is none, or when the
	// connection was cut instead.
	Status int
}

// record keeps a request.
func (s *Server) record(r *http.Request, body []byte) *Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	recorded := &Request{
		At: s.clock(), Method: r.Method, Path: r.RequestURI, Header: r.Header, Body: body,
	}
	s.requests = remember(s.requests, recorded, s.settings.history)
	s.notify()
	return recorded
}

func (s *Server) recordStatus(recorded *Request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recorded.Status = status
	s.notify()
}

// The accessors below return copies, oldest first.

// Topics returns the topics.
func (s *Server) Topics() []Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	topics := make([]Topic, 0, len(s.topicNames))
	for _, name := range s.topicNames {
		topics = append(topics, s.topics[name].Topic)
	}
	return topics
}

// Consumers returns the consumers, deleted ones included.
func (s *Server) Consumers() []Consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	consumers := make([]Consumer, 0, len(s.consumers))
	for id := int64(1); id <= s.lastConsumer; id++ {
		if consumer := s.consumers[id]; consumer != nil {
			consumers = append(consumers, *consumer)
		}
	}
	return consumers
}

// Messages returns the accepted messages, also those that were thrown away.
func (s *Server) Messages() []Message { return s.messagesBy(func(*Message) bool { return true }) }

// MessagesOf returns the accepted messages of a topic.
func (s *Server) MessagesOf(topic string) []Message {
	return s.messagesBy(func(m *Message) bool { return m.Topic == topic })
}

// ThrownAway returns the messages that were accepted and went nowhere,
// because their topic had no consumer.
func (s *Server) ThrownAway() []Message {
	return s.messagesBy(func(m *Message) bool { return m.ThrownAway() })
}

func (s *Server) messagesBy(wanted func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var messages []Message
	for _, message := range s.messages {
		if wanted(message) {
			copied := *message
			copied.Payload = slices.Clone(message.Payload)
			copied.Attributes = slices.Clone(message.Attributes)
			copied.JobIDs = slices.Clone(message.JobIDs)
			messages = append(messages, copied)
		}
	}
	return messages
}

// messageCount counts the accepted messages of a topic, or all.
func (s *Server) messageCount(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if topic != "" {
		return s.counts[topic]
	}
	total := 0
	for _, count := range s.counts {
		total += count
	}
	return total
}

// Jobs returns the jobs.
func (s *Server) Jobs() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := make([]Job, 0, len(s.jobs))
	for _, j := range s.jobs {
		jobs = append(jobs, Job{
			ID: j.id, Topic: j.messages[0].Topic, ConsumerID: j.consumer.ID, Messages: len(j.messages),
			State: j.state, Attempts: j.attempts, DueAt: j.due,
		})
	}
	return jobs
}

// Deliveries returns the attempts to deliver that have ended.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	history := slices.Clone(s.history)
	s.mu.Unlock()
	made := make([]Delivery, 0, len(history))
	for _, ended := range history {
		delivery := ended.Delivery
		delivery.Body = deliveryBody(ended.message)
		made = append(made, delivery)
	}
	return made
}

// Requests returns the requests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]Request, 0, len(s.requests))
	for _, recorded := range s.requests {
		copied := *recorded
		copied.Header = recorded.Header.Clone()
		copied.Body = slices.Clone(recorded.Body)
		requests = append(requests, copied)
	}
	return requests
}

// RescuerRuns returns the runs of the rescuer that have ended.
func (s *Server) RescuerRuns() []RescuerRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := make([]RescuerRun, 0, len(s.rescuerRuns))
	for _, run := range s.rescuerRuns {
		runs = append(runs, run.clone())
	}
	return runs
}

// hasTopic reports whether there is a topic of that name.
func (s *Server) hasTopic(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[name] != nil
}
