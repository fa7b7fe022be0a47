package postofficetest

import (
	"net/http"
	"slices"
	"time"
)

// Request is a request that the server has received.
type Request struct {
	// At is the time of arrival by the server's clock.
	At time.Time
	// Method and Path are as sent; Path includes the query string.
	Method, Path string
	// Header holds the header without Host.
	Header http.Header
	// Body is the body as read; of a body above the limit, only a part.
	Body []byte
	// Status is the status of the answer; zero before the answer, or if the
	// connection was cut instead.
	Status int
}

// record stores a request.
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

// Consumers returns the consumers, including deleted ones.
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

// Messages returns the accepted messages, including discarded ones.
func (s *Server) Messages() []Message { return s.messagesBy(func(*Message) bool { return true }) }

// MessagesOf returns the accepted messages of a topic.
func (s *Server) MessagesOf(topic string) []Message {
	return s.messagesBy(func(m *Message) bool { return m.Topic == topic })
}

// ThrownAway returns the messages that were accepted and delivered to nobody,
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
		jobs = append(jobs, j.public())
	}
	return jobs
}

// Deliveries returns the completed attempts to deliver.
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

// RescuerRuns returns the completed runs of the rescuer.
func (s *Server) RescuerRuns() []RescuerRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := make([]RescuerRun, 0, len(s.rescuerRuns))
	for _, run := range s.rescuerRuns {
		runs = append(runs, run.clone())
	}
	return runs
}

// hasTopic reports whether a topic exists.
func (s *Server) hasTopic(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[name] != nil
}
