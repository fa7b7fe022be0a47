package memory

import (
	"context"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/topiccount"
	"github.com/postoffice-go/postoffice/core/outbox"
)

var _ outbox.TopicCounter = (*Store)(nil)

// CountTopics counts the records of each topic.
func (s *Store) CountTopics(ctx context.Context, limit int) ([]outbox.TopicCount, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mutex.Unlock()
	if err := outbox.ValidateCountTopics(limit); err != nil {
		return nil, err
	}
	now := time.Now()
	places := make(map[string]int)
	var counts []outbox.TopicCount
	for _, record := range s.records {
		place, found := places[record.Topic]
		if !found {
			place = len(counts)
			places[record.Topic] = place
			counts = append(counts, outbox.TopicCount{Topic: record.Topic})
		}
		count := &counts[place]
		if record.State == outbox.Dead {
			count.Dead++
			continue
		}
		count.Pending++
		if record.LeaseToken != "" && record.DueAt.After(now) {
			count.Held++
		}
	}
	return topiccount.Most(counts, limit), nil
}
