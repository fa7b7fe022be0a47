package topicwalk_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/topicwalk"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// fake is a source of topics, whose rows are never used up.
type fake struct {
	names  []string
	due    map[string]int
	oldest []topicwalk.Topic
	all    bool

	probes int
	taken  []string
}

func newFake(topics int) *fake {
	f := &fake{due: make(map[string]int)}
	for i := range topics {
		f.names = append(f.names, fmt.Sprintf("topic%05d", i))
	}
	return f
}

func (f *fake) source(limit int) topicwalk.Source {
	f.probes, f.taken = 0, nil
	return topicwalk.Source{
		Page: func(after, end string, limit int) (topics []topicwalk.Topic, more bool, err error) {
			for _, name := range f.names {
				if name <= after {
					continue
				}
				if len(topics) == limit || end != "" && name > end {
					return topics, end == "" || name <= end, nil
				}
				f.probes++
				topics = append(topics, topicwalk.Topic{Name: name, Due: f.due[name]})
			}
			return topics, false, nil
		},
		Oldest: func(string) ([]topicwalk.Topic, bool, error) { return f.oldest, f.all, nil },
		Take: func(topics []topicwalk.Topic) (int, bool, error) {
			for _, topic := range topics {
				f.taken = append(f.taken, topic.Name)
			}
			return len(topics), len(f.taken) >= limit, nil
		},
	}
}

func (f *fake) walk(t *testing.T, walker *topicwalk.Walker, options outbox.ClaimOptions) {
	t.Helper()
	options.Limit, options.PerTopic = 100, 1
	require.NoError(t, walker.Walk(options, f.source(100)))
}

// TestProbesAreBounded has ten thousand topics without due rows between two that
// have some. The longest due rows are all of the first.
func TestProbesAreBounded(t *testing.T) {
	f := newFake(10_000)
	first, far := f.names[0], f.names[7000]
	f.due[first], f.due[far] = 1, 1
	f.oldest = []topicwalk.Topic{{Name: first, Due: topicwalk.Oldest}}
	var walker topicwalk.Walker
	walks := 0
	for found := false; !found; walks++ {
		require.Less(t, walks, 100)
		f.walk(t, &walker, outbox.ClaimOptions{AfterTopic: first})
		assert.Less(t, f.probes, 600)
		assert.Equal(t, first, f.taken[0])
		found = len(f.taken) == 2 && f.taken[1] == far
	}
	assert.Greater(t, walks, 10)
}

// TestFewDueRows are found without a visit of all topics.
func TestFewDueRows(t *testing.T) {
	f := newFake(10_000)
	f.due[f.names[9000]] = 1
	f.oldest, f.all = []topicwalk.Topic{{Name: f.names[9000], Due: 1}}, true
	f.walk(t, new(topicwalk.Walker), outbox.ClaimOptions{})
	assert.Equal(t, []string{f.names[9000]}, f.taken)
	assert.Less(t, f.probes, 300)
}

// TestNothingElseToClaim shows that all topics are visited before a walk claims
// nothing.
func TestNothingElseToClaim(t *testing.T) {
	f := newFake(10_000)
	first, far := f.names[0], f.names[9000]
	f.due[first], f.due[far] = 1, 1
	f.oldest = []topicwalk.Topic{{Name: first, Due: topicwalk.Oldest}}
	options := outbox.ClaimOptions{AfterTopic: first, SkipTopics: []string{first}}
	f.walk(t, new(topicwalk.Walker), options)
	assert.Equal(t, []string{far}, f.taken)

	delete(f.due, far)
	f.walk(t, new(topicwalk.Walker), options)
	assert.Empty(t, f.taken)
	assert.GreaterOrEqual(t, f.probes, 10_000)
}
