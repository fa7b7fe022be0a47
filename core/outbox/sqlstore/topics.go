package sqlstore

import (
	"context"
	"fmt"

	"github.com/postoffice-go/postoffice/core/outbox"
)

var _ outbox.TopicCounter = (*Store)(nil)

// CountTopics counts the records of each topic: pending ones in an index, and dead
// ones, on PostgreSQL and SQLite, in the rows.
func (s *Store) CountTopics(ctx context.Context, limit int) ([]outbox.TopicCount, error) {
	if err := outbox.ValidateCountTopics(limit); err != nil {
		return nil, err
	}
	var counts []outbox.TopicCount
	err := s.do(ctx, "count topics", func() error {
		counts = nil
		query, args := s.countTopicsQuery(limit)
		return each(ctx, s.db, query, args, func(scan func(...any) error) error {
			var count outbox.TopicCount
			err := scan(&count.Topic, &count.Pending, &count.Held, &count.Dead)
			counts = append(counts, count)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// countTopicsQuery returns the query that counts the records of the largest topics.
// On MySQL one index has both states; elsewhere each state has its own index.
func (s *Store) countTopicsQuery(limit int) (string, []any) {
	v := s.dialect.querying()
	held := fmt.Sprintf("token <> '' AND due_at > %s", s.dialect.now())
	byTopic := s.table.using(s.table.topic())
	if s.dialect == MySQL {
		return fmt.Sprintf(`SELECT topic, count(CASE WHEN state = 0 THEN 1 END), count(CASE WHEN state = 0 AND %s THEN 1 END), count(CASE WHEN state = 1 THEN 1 END)
FROM %s WHERE %s AND %s GROUP BY topic ORDER BY count(*) DESC, topic LIMIT %s`,
			held, byTopic, s.dialect.notTrial(), ofRecords, v.number(int64(limit))), v.args
	}
	name := "topic"
	if s.dialect == Postgres {
		name += ` COLLATE "C"` // by bytes, whatever the collation of the database
	}
	return fmt.Sprintf(`SELECT topic, CAST(sum(pending) AS bigint), CAST(sum(held) AS bigint), CAST(sum(dead) AS bigint) FROM (
	SELECT topic, count(*) AS pending, count(CASE WHEN %s THEN 1 END) AS held, 0 AS dead FROM %s WHERE %s AND topic > '' AND %s%s GROUP BY topic
	UNION ALL
	SELECT topic, 0, 0, count(*) FROM %s WHERE state = 1 GROUP BY topic
) AS counted GROUP BY topic ORDER BY sum(pending) + sum(dead) DESC, %s LIMIT %s`,
		held, byTopic, s.dialect.pending(), s.dialect.notTrial(), v.planned(), s.table.using(s.table.dead()), name, v.number(int64(limit))), v.args
}
