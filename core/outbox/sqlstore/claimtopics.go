package sqlstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// claimByTopic claims topic by topic. On PostgreSQL a statement for each page of
// topics finds and claims the rows. On the other databases it finds all rows first
// and leases them at the end.
func (s *Store) claimByTopic(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	var claimed []outbox.Record
	var err error
	switch s.dialect {
	case Postgres:
		claimed, err = s.claimTopics(ctx, options)
	case MySQL:
		attempts := 0
		err = s.write(ctx, "claim", func() error {
			attempts++
			return s.transact(ctx, func(tx *sql.Conn) error {
				passed := passed(attempts, options.PerTopic)
				found, err := s.findByTopic(ctx, tx, options, passed)
				if passed > 0 && len(found.ids) == 0 && err == nil {
					found, err = s.findByTopic(ctx, tx, options, 0)
				}
				if err == nil {
					claimed, err = s.leaseLocked(ctx, tx, found.ids, dueBy(found.now), found.now+micros(options.Lease), rand.Text())
				}
				return err
			})
		})
	default:
		err = s.write(ctx, "claim", func() error {
			claimed, err = s.leaseOptimistic(ctx, options, func() ([]string, error) {
				found, err := s.findByTopic(ctx, s.db, options, 0)
				return found.ids, err
			})
			return err
		})
	}
	if err != nil {
		return nil, s.taken(err)
	}
	s.recount(ctx)
	return claimed, nil
}

// claimTopics claims on PostgreSQL. If a later statement fails, it returns the
// records claimed before.
func (s *Store) claimTopics(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	var claimed []outbox.Record
	token, rest := rand.Text(), options
	source := s.topics(ctx, s.db, options, func(run func() error) error { return s.do(ctx, "claim", run) })
	source.Take = func(topics []topicwalk.Topic) (int, bool, error) {
		var taken []outbox.Record
		cut := false
		err := s.do(ctx, "claim", func() error {
			taken = nil
			query, args := s.takeQuery(topics, rest, len(claimed) == 0, token)
			return each(ctx, s.db, query, args, func(scan func(...any) error) error {
				record, err := scanRecord(scan, &cut)
				taken = append(taken, record)
				return err
			})
		})
		if err != nil {
			return 0, false, err
		}
		claimed = append(claimed, taken...)
		rest.Limit -= len(taken)
		if options.MaxBytes > 0 {
			for _, record := range taken {
				rest.MaxBytes -= record.Size()
			}
			cut = cut || rest.MaxBytes <= 0
			if !cut && len(taken) == 0 && len(claimed) > 0 {
				// No row says whether rows were left out.
				cut, err = s.canTake(ctx, topics, rest)
			}
		}
		return len(taken), rest.Limit == 0 || cut, err
	}
	err := s.walker.Walk(options, source)
	if len(claimed) > 0 {
		return claimed, nil
	}
	return nil, err
}

// canTake reports whether topics have rows to claim on PostgreSQL, regardless of
// their bytes.
func (s *Store) canTake(ctx context.Context, topics []topicwalk.Topic, options outbox.ClaimOptions) (found bool, err error) {
	options.Limit, options.PerTopic = 1, 1
	v := s.dialect.querying()
	text := s.takeText(v, namesOf(topics), options)
	err = s.do(ctx, "claim", func() error {
		found = false
		return each(ctx, s.db, text, v.args, func(func(...any) error) error {
			found = true
			return nil
		})
	})
	return found, err
}

// takeQuery returns the statement that claims rows of topics on PostgreSQL. An
// additional column says whether MaxBytes has left out rows.
func (s *Store) takeQuery(topics []topicwalk.Topic, options outbox.ClaimOptions, oversized bool, token string) (string, []any) {
	v := s.dialect.querying()
	due := s.takeText(v, namesOf(topics), options)
	return s.claimText(v, due, ", (SELECT count(*) FROM due) > (SELECT count(*) FROM fitting)", options.MaxBytes, oversized,
		micros(options.Lease), token), v.args
}

// namesOf returns the names of topics.
func namesOf(topics []topicwalk.Topic) []string {
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic.Name
	}
	return names
}

// takeText returns the query that finds and locks rows of topics on PostgreSQL. It
// reads no more rows than it returns.
//
// The condition on the topic is a range, although it matches one topic: therefore
// only the index by topic has the required order, whatever the planner knows. The
// comparison of pairs ends the index scan at the rows that are not due.
func (s *Store) takeText(v *values, topics []string, options outbox.ClaimOptions) string {
	return strings.NewReplacer(
		"TOPICS", v.array(topics),
		"TABLE", s.table.SQL(),
		"PENDING", s.dialect.pending(),
		"NOW", s.dialect.now(),
		"SCHEDULED", s.unscheduled(options),
		"PERTOPIC", v.number(int64(options.PerTopic)),
		"PLANNED", v.planned(),
		"LIMIT n", "LIMIT "+v.number(int64(options.Limit)),
	).Replace(`SELECT taken.id, taken.due_at, taken.size, named.place
	FROM unnest(TOPICS) WITH ORDINALITY AS named (topic, place) CROSS JOIN LATERAL (
		SELECT id, due_at, size FROM TABLE WHERE PENDING AND topic >= named.topic AND (topic, due_at) <= (named.topic, NOW)SCHEDULED
		ORDER BY topic, due_at, id LIMIT PERTOPIC FOR UPDATE SKIP LOCKED
	) AS taken WHERE named.place > 0PLANNED LIMIT n`)
}

// topics returns a walk's source without Take. run runs each query.
func (s *Store) topics(ctx context.Context, db runner, options outbox.ClaimOptions, run func(func() error) error) topicwalk.Source {
	// read returns topics and the numbers of rows and of due rows among them. A
	// query may return several rows of a topic.
	read := func(query string, args []any) (topics []topicwalk.Topic, rows, due int, err error) {
		err = run(func() error {
			topics, rows, due = nil, 0, 0
			return each(ctx, db, query, args, func(scan func(...any) error) error {
				var topic topicwalk.Topic
				if err := scan(&topic.Name, &topic.Due); err != nil {
					return err
				}
				rows, due = rows+1, due+topic.Due
				last := len(topics) - 1
				if last < 0 || topics[last].Name != topic.Name {
					topics = append(topics, topicwalk.Topic{Name: topic.Name})
					last++
				}
				topics[last].Due = min(topics[last].Due+topic.Due, options.PerTopic)
				return nil
			})
		})
		return topics, rows, due, err
	}
	return topicwalk.Source{
		Page: func(after, end string, limit int) ([]topicwalk.Topic, bool, error) {
			if s.dialect == MySQL {
				limit = pageRows
			}
			query, args := s.pageQuery(after, end, limit)
			topics, rows, _, err := read(query, args)
			return topics, rows == limit, err
		},
		Oldest: func(after string) ([]topicwalk.Topic, bool, error) {
			query, args := s.oldestQuery(after)
			topics, _, due, err := read(query, args)
			return topics, due < topicwalk.Oldest, err
		},
	}
}

// pageRows is how many rows MySQL reads for a page of topics.
const pageRows = 256

// pageQuery returns the query for the topics with pending rows after one topic and
// up to another, and whether the first row of each is due. It searches the index by
// topic once for each topic. No single MySQL statement does that reliably, so on
// MySQL it reads the next rows of the index, which may include several of one topic.
func (s *Store) pageQuery(after, end string, limit int) (string, []any) {
	v := s.dialect.querying()
	upTo := func(column, operator string) string {
		if end == "" {
			return ""
		}
		return " AND " + column + " " + operator + " " + v.text(end)
	}
	var text string
	switch s.dialect {
	case Postgres:
		text = `WITH RECURSIVE found (topic, due_at, n) AS (
	(SELECT topic, due_at, 1 FROM TABLE WHERE PENDING AND topic > AFTERPLANNED ORDER BY topic, due_at, id LIMIT 1)
	UNION ALL
	SELECT next.topic, next.due_at, found.n + 1 FROM found CROSS JOIN LATERAL (
		SELECT topic, due_at FROM TABLE WHERE PENDING AND topic > found.topic ORDER BY topic, due_at, id LIMIT 1
	) AS next WHERE found.n < MOSTBEFORE
)
SELECT topic, CASE WHEN due_at <= NOW THEN 1 ELSE 0 END FROM found WHERE n > 0UPTO ORDER BY n`
	case MySQL:
		text = `SELECT topic, CASE WHEN due_at <= NOW THEN 1 ELSE 0 END FROM TABLE
WHERE PENDING AND topic > AFTERUPTO ORDER BY topic, due_at, id LIMIT MOST`
	default:
		text = `WITH RECURSIVE found (topic, n) AS (
	SELECT (SELECT topic FROM TABLE WHERE PENDING AND topic > AFTER ORDER BY topic LIMIT 1), 1
	UNION ALL
	SELECT (SELECT topic FROM TABLE WHERE PENDING AND topic > found.topic ORDER BY topic LIMIT 1), n + 1
	FROM found WHERE topic IS NOT NULL AND n < MOSTBEFORE
)
SELECT topic, (SELECT due_at FROM TABLE WHERE PENDING AND topic = found.topic ORDER BY due_at LIMIT 1) <= NOW
FROM found WHERE topic IS NOT NULLUPTO`
	}
	text = strings.NewReplacer(
		"TABLE", s.table.using(s.table.topic()),
		"PENDING", s.dialect.pending(),
		"AFTER", v.text(after),
		"PLANNED", v.planned(),
		"MOST", v.number(int64(limit)),
		"BEFORE", upTo("found.topic", "<"),
		"UPTO", upTo("topic", "<="),
		"NOW", s.dialect.now(),
	).Replace(text)
	return text, v.args
}

// oldestQuery returns the query for the topics of the longest due rows, with the
// number of these rows for each topic.
func (s *Store) oldestQuery(after string) (string, []any) {
	v := s.dialect.querying()
	text := fmt.Sprintf(`SELECT topic, count(*) FROM (
	SELECT topic FROM %s WHERE %s AND due_at <= %s%s ORDER BY due_at, id LIMIT %d
) AS oldest GROUP BY topic ORDER BY CASE WHEN topic > %s THEN 0 ELSE 1 END, topic`,
		s.table.using(s.table.due()), s.dialect.pending(), s.dialect.now(), v.planned(), topicwalk.Oldest, v.text(after))
	return text, v.args
}

// findings are the rows that a claim has found and not leased yet.
type findings struct {
	ids   []string
	bytes int64
	now   int64 // the database's time
}

// candidate is a row that a claim may take.
type candidate struct {
	id    string
	place int // the position of its topic
	dueAt int64
	size  int64
}

// findByTopic finds the rows for a claim, and locks them on MySQL. It skips the
// first passed rows of each topic.
func (s *Store) findByTopic(ctx context.Context, db runner, options outbox.ClaimOptions, passed int) (findings, error) {
	var f findings
	source := s.topics(ctx, db, options, func(run func() error) error { return run() })
	source.Take = func(topics []topicwalk.Topic) (int, bool, error) {
		before, full := len(f.ids), false
		for len(topics) > 0 && !full {
			n := s.enough(topics, options.Limit-len(f.ids))
			candidates, err := s.candidatesOf(ctx, db, topics[:n], options, passed, &f)
			if err != nil {
				return 0, false, err
			}
			full = f.add(candidates, options)
			topics = topics[n:]
		}
		return len(f.ids) - before, full, nil
	}
	err := s.walker.Walk(options, source)
	return f, err
}

// add adds rows and reports whether the claim is full.
func (f *findings) add(candidates []candidate, options outbox.ClaimOptions) (full bool) {
	for _, c := range candidates {
		f.bytes += c.size
		if len(f.ids) == options.Limit || options.MaxBytes > 0 && f.bytes > options.MaxBytes && len(f.ids) > 0 {
			return true
		}
		f.ids = append(f.ids, c.id)
	}
	return len(f.ids) == options.Limit
}

// enough returns how many topics a statement names. MySQL would lock more rows than
// needed. On SQLite the caller ends the query early.
func (s *Store) enough(topics []topicwalk.Topic, rows int) int {
	if s.dialect != MySQL {
		return len(topics)
	}
	n := 0
	for n < len(topics) && rows > 0 {
		rows -= topics[n].Due
		n++
	}
	weigh := func(topic topicwalk.Topic) int64 { return int64(2*len(topic.Name)) + 512 }
	return part(topics[:n], n, s.statementLimit(), weigh)
}

// errEnough ends a query early.
var errEnough = errors.New("enough")

// candidatesOf returns due rows of topics in the order of claims.
func (s *Store) candidatesOf(ctx context.Context, db runner, topics []topicwalk.Topic, options outbox.ClaimOptions, passed int, f *findings) ([]candidate, error) {
	limit := options.Limit - len(f.ids)
	var list []candidate
	err := each(ctx, db, s.candidatesText(topics, options, passed), nil, func(scan func(...any) error) error {
		var c candidate
		if err := scan(&c.place, &c.id, &c.dueAt, &c.size, &f.now); err != nil {
			return err
		}
		// The rows of a topic are adjacent, and unordered on SQLite.
		if len(list) >= limit && list[len(list)-1].place != c.place {
			return errEnough
		}
		list = append(list, c)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.dueAt, b.dueAt), strings.Compare(a.id, b.id))
	})
	return list, nil
}

// candidatesText returns the query for due rows of topics, at most PerTopic of each.
// On MySQL it locks them.
func (s *Store) candidatesText(topics []topicwalk.Topic, options outbox.ClaimOptions, passed int) string {
	rows := func(what, topic string) string {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s AND topic = %s AND %s ORDER BY due_at, id LIMIT %d%s",
			what, s.table.using(s.table.topic()), s.dialect.pending(), topic, s.due(options), options.PerTopic, offset(passed))
	}
	parts := make([]string, len(topics))
	if s.dialect == MySQL {
		for place, topic := range topics {
			what := fmt.Sprintf("%d AS place, id, due_at, size, %s", place, s.dialect.now())
			parts[place] = "(" + rows(what, s.dialect.text(topic.Name)) + " FOR UPDATE SKIP LOCKED)"
		}
		return strings.Join(parts, " UNION ALL ")
	}
	for place, topic := range topics {
		parts[place] = fmt.Sprintf("(%d, %s)", place, s.dialect.text(topic.Name))
	}
	return fmt.Sprintf("WITH named (place, topic) AS (VALUES %s) SELECT named.place, taken.id, taken.due_at, taken.size, %s FROM named CROSS JOIN %s AS taken WHERE taken.id IN (%s)",
		strings.Join(parts, ", "), s.dialect.now(), s.table.SQL(), rows("id", "named.topic"))
}
