package core

import (
	"context"
	"slices"
	"sync"
	"time"
)

// restoreInterval is the minimum time between attempts to restore a topic.
const restoreInterval = 10 * time.Second

// restoring holds the topics that are being restored, or were recently.
type restoring struct {
	mu     sync.Mutex
	latest map[string]*restoration
	// retried has the consumers that are retried in the background.
	retried map[Consumer]bool
}

// restoration is an attempt to restore a topic. The fields without a comment
// are valid once done is closed.
type restoration struct {
	began time.Time     // valid from the beginning
	done  chan struct{} // closed at the end
	ended time.Time
	ok    bool
	// consumers is the number of consumers to restore.
	consumers int
}

// begin returns the restoration of a topic that is in progress, or begins one
// (mine) unless the last one began within restoreInterval: then it returns nil.
func (r *restoring) begin(topic string) (attempt *restoration, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last := r.latest[topic]; last != nil {
		select {
		case <-last.done:
			if now.Sub(last.began) < restoreInterval {
				return nil, false
			}
		default:
			return last, false
		}
	}
	if r.latest == nil {
		r.latest = map[string]*restoration{}
	}
	attempt = &restoration{began: now, done: make(chan struct{})}
	r.latest[topic] = attempt
	return attempt, true
}

// end ends a restoration.
func (a *restoration) end() {
	a.ended = time.Now()
	close(a.done)
}

// result waits for the end of a restoration and reports whether it succeeded.
func (a *restoration) result(ctx context.Context) bool {
	select {
	case <-a.done:
		return a.ok
	case <-ctx.Done():
		return false
	}
}

// restoreTopic creates a configured topic that the server does not have, for
// example because it lost its data, and then the configured consumers of the
// topic that setup has attempted before: the server discards the messages of a
// topic without consumers. It reports whether the server has all of them now.
//
// Calls during a restoration of the same topic wait for its result. Otherwise
// a topic is restored once in restoreInterval.
func (s *setup) restoreTopic(ctx context.Context, topic string) bool {
	if !slices.Contains(s.cfg.topics, topic) {
		return false
	}
	attempt, mine := s.restoring.begin(topic)
	switch {
	case attempt == nil:
		return false
	case !mine:
		return attempt.result(ctx)
	}
	defer attempt.end()
	consumers := s.consumersBefore(topic)
	attempt.consumers = len(consumers)
	attempt.ok = s.topics(ctx, []string{topic})[0].Status != SetupFailed && s.restoreConsumers(ctx, consumers)
	return attempt.ok
}

// restoredSince reports whether a topic with consumers was being restored at
// some time since began: the server may have received a message before the
// consumers, and discarded it. It waits for a restoration in progress.
func (s *setup) restoredSince(ctx context.Context, topic string, began time.Time) bool {
	s.restoring.mu.Lock()
	attempt := s.restoring.latest[topic]
	s.restoring.mu.Unlock()
	return attempt != nil && attempt.result(ctx) && attempt.consumers > 0 && !attempt.ended.Before(began)
}

// consumersBefore returns the configured consumers of a topic that setup has
// attempted before. The app may want to create the others later or elsewhere.
func (s *setup) consumersBefore(topic string) []Consumer {
	var consumers []Consumer
	for _, consumer := range s.cfg.consumers {
		if consumer.Topic == topic && len(s.outcomes.of([]SetupResult{resultOf(consumer)})) > 0 {
			consumers = append(consumers, consumer)
		}
	}
	return consumers
}

// restoreConsumers repeats the setup of consumers, and retries each that fails in
// the background. It reports whether the server has all of them.
func (s *setup) restoreConsumers(ctx context.Context, consumers []Consumer) bool {
	failed := stillFailed(consumers, s.consumers(ctx, consumers))
	for _, consumer := range failed {
		if s.restoring.beginRetry(consumer) {
			s.inBackground(func(ctx context.Context) {
				defer s.restoring.endRetry(consumer)
				s.keepTrying(ctx, nil, []Consumer{consumer})
			})
		}
	}
	return len(failed) == 0
}

// beginRetry marks a consumer as retried in the background. It returns false if
// the consumer is already marked.
func (r *restoring) beginRetry(consumer Consumer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retried[consumer] {
		return false
	}
	if r.retried == nil {
		r.retried = map[Consumer]bool{}
	}
	r.retried[consumer] = true
	return true
}

func (r *restoring) endRetry(consumer Consumer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.retried, consumer)
}
