package sqlite

import (
	"crypto/rand"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// claim is a claim in progress.
type claim struct {
	writer  *writer
	options outbox.ClaimOptions
	now     time.Time

	seqs    []int64
	records []outbox.Record
	bytes   int64
	full    bool
}

// find finds the records to claim.
func (c *claim) find() error {
	if c.options.PerTopic > 0 {
		return c.writer.store.walker.Walk(c.options, topicwalk.Source{Page: c.page, Oldest: c.oldest, Take: c.take})
	}
	if c.options.SkipScheduled {
		return c.read(selectDueUnscheduled, c.now.UnixMicro(), time.Now().UnixMicro(), c.options.Limit)
	}
	return c.read(selectDue, c.now.UnixMicro(), c.options.Limit)
}

// read adds the records of a query until the claim is full.
func (c *claim) read(query string, args ...any) error {
	return c.writer.rows(query, args, func(scan func(...any) error) (bool, error) {
		seq, record, err := scanRecord(scan)
		if err != nil {
			return false, err
		}
		c.bytes += record.Size()
		if c.options.MaxBytes > 0 && c.bytes > c.options.MaxBytes && len(c.records) > 0 {
			c.full = true
			return false, nil
		}
		c.seqs, c.records = append(c.seqs, seq), append(c.records, record)
		c.full = len(c.records) == c.options.Limit
		return !c.full, nil
	})
}

// take adds due records of topics, at most PerTopic of each.
func (c *claim) take(topics []topicwalk.Topic) (int, bool, error) {
	before := len(c.records)
	query, more := selectDueOfTopic, []any(nil)
	if c.options.SkipScheduled {
		query, more = selectDueOfTopicUnscheduled, []any{time.Now().UnixMicro()}
	}
	for i := 0; i < len(topics) && !c.full; i++ {
		args := append([]any{topics[i].Name, c.now.UnixMicro(), c.options.PerTopic}, more...)
		if err := c.read(query, args...); err != nil {
			return 0, false, err
		}
	}
	return len(c.records) - before, c.full, nil
}

// page returns topics with pending records.
func (c *claim) page(after, end string, limit int) ([]topicwalk.Topic, bool, error) {
	topics, _, err := c.topics(selectTopics, after, end, limit, c.now.UnixMicro())
	return topics, len(topics) == limit, err
}

// oldest returns the topics of the longest due records.
func (c *claim) oldest(after string) ([]topicwalk.Topic, bool, error) {
	topics, due, err := c.topics(selectOldestTopics, c.now.UnixMicro(), topicwalk.Oldest, after)
	return topics, due < topicwalk.Oldest, err
}

// topics runs a query for topics and their numbers of due records, and returns the
// sum of the numbers.
func (c *claim) topics(query string, args ...any) (topics []topicwalk.Topic, due int, err error) {
	err = c.writer.rows(query, args, func(scan func(...any) error) (bool, error) {
		var topic topicwalk.Topic
		err := scan(&topic.Name, &topic.Due)
		topics, due = append(topics, topic), due+topic.Due
		return true, err
	})
	return topics, due, err
}

// lease leases the found records and returns them.
func (c *claim) lease() ([]outbox.Record, error) {
	token, dueAt := rand.Text(), later(c.now, c.options.Lease)
	for i, seq := range c.seqs {
		if err := c.writer.exec(leaseRecord, dueAt, token, seq); err != nil {
			return nil, err
		}
		c.records[i].LeaseToken = token
		c.records[i].DueAt = time.UnixMicro(dueAt).UTC()
		c.records[i].Attempts++
	}
	return c.records, nil
}
