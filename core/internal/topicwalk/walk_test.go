package topicwalk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
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

// TestTopicsThatComeAndGo has random topics come and go between any two calls of
// a walk. It ends, takes each topic at most once, and takes those
// that are due all the time unless it has claimed something else.
func TestTopicsThatComeAndGo(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		constant := newFake(random.IntN(600))
		due := make(map[string]int)
		for _, name := range constant.names {
			if random.IntN(100) == 0 {
				due[name] = 1
			}
		}
		f := &fake{}
		change := func() {
			f.names, f.due = slices.Clone(constant.names), maps.Clone(due)
			for range random.IntN(300) {
				name := fmt.Sprintf("topic%05d+", random.IntN(600))
				f.names, f.due[name] = append(f.names, name), random.IntN(2)
			}
			slices.Sort(f.names)
			f.names = slices.Compact(f.names)
			f.oldest, f.all = nil, true
			for _, name := range f.names {
				if f.due[name] > 0 && random.IntN(2) == 0 {
					f.oldest = append(f.oldest, topicwalk.Topic{Name: name, Due: 1})
				} else if f.due[name] > 0 {
					f.all = false
				}
			}
		}
		source := f.source(1_000_000)
		page, oldest, take := source.Page, source.Oldest, source.Take
		source.Page = func(after, end string, limit int) ([]topicwalk.Topic, bool, error) {
			change()
			return page(after, end, limit)
		}
		source.Oldest = func(after string) ([]topicwalk.Topic, bool, error) {
			change()
			return oldest(after)
		}
		claimed := 0
		source.Take = func(topics []topicwalk.Topic) (int, bool, error) {
			change()
			n := random.IntN(len(topics) + 1) // some have gone
			claimed += n
			_, _, err := take(topics)
			return n, false, err
		}
		options := outbox.ClaimOptions{Limit: 1 + random.IntN(200), PerTopic: 1}
		if random.IntN(2) == 0 {
			options.AfterTopic = fmt.Sprintf("topic%05d", random.IntN(700))
		}
		require.NoError(t, new(topicwalk.Walker).Walk(options, source))

		seen := slices.Sorted(slices.Values(f.taken))
		require.Len(t, slices.Compact(seen), len(f.taken), "seed %d: a topic twice", seed)
		if claimed == 0 {
			for name := range due {
				require.Contains(t, f.taken, name, "seed %d", seed)
			}
		}
	}
}
