package sqlite

import (
	"context"

	"github.com/postoffice-go/postoffice/core/internal/topiccount"
	"github.com/postoffice-go/postoffice/core/outbox"
)

var _ outbox.TopicCounter = (*Store)(nil)

const (
	// countTopics counts the next records, by topic and ID, after a topic and an ID:
	// of each topic how many, how many dead ones, and the last ID.
	countTopics = `SELECT topic, count(*), sum(state = 1), max(id) FROM
(SELECT topic, id, state FROM outbox INDEXED BY outbox_topic WHERE (topic, id) > (?1, ?2) ORDER BY topic, id LIMIT ?3)
GROUP BY topic ORDER BY topic`
	countHeldOfTopics = `SELECT topic, count(*) FROM outbox INDEXED BY outbox_held WHERE state = 0 AND token <> '' AND due_at > ? GROUP BY topic`
)

// CountTopics counts the records of each topic in an index that holds no payloads,
// in steps, so that others need not wait for the whole.
func (s *Store) CountTopics(ctx context.Context, limit int) ([]outbox.TopicCount, error) {
	if err := outbox.ValidateCountTopics(limit); err != nil {
		return nil, err
	}
	held := make(map[string]int)
	err := s.read(ctx, func(w *writer) error {
		return w.rows(countHeldOfTopics, []any{s.clock.now().UnixMicro()}, func(scan func(...any) error) (bool, error) {
			var topic string
			var n int
			err := scan(&topic, &n)
			held[topic] = n
			return true, err
		})
	})
	if err != nil {
		return nil, err
	}
	var counts []outbox.TopicCount
	// Remembered keys have no topic, and come before this.
	topic, after := "", firstID
	for passed := countStep; passed == countStep; {
		passed = 0
		err := s.read(ctx, func(w *writer) error {
			return w.rows(countTopics, []any{topic, after, countStep}, func(scan func(...any) error) (bool, error) {
				var n, dead int
				if err := scan(&topic, &n, &dead, &after); err != nil {
					return false, err
				}
				passed += n
				if len(counts) == 0 || counts[len(counts)-1].Topic != topic {
					counts = append(counts, outbox.TopicCount{Topic: topic, Held: held[topic]})
				}
				last := &counts[len(counts)-1]
				last.Pending, last.Dead = last.Pending+n-dead, last.Dead+dead
				return true, nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range counts {
		// They were counted before, and may have left.
		counts[i].Held = min(counts[i].Held, counts[i].Pending)
	}
	return topiccount.Most(counts, limit), nil
}
