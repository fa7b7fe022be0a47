// Package topiccount sorts the counts of topics for stores whose queries do not.
package topiccount

import (
	"cmp"
	"slices"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Most returns the largest topics, at most limit, in the order of
// [outbox.TopicCounter]. It reorders the argument.
func Most(counts []outbox.TopicCount, limit int) []outbox.TopicCount {
	slices.SortFunc(counts, func(a, b outbox.TopicCount) int {
		return cmp.Or(cmp.Compare(b.Pending+b.Dead, a.Pending+a.Dead), cmp.Compare(a.Topic, b.Topic))
	})
	return counts[:min(len(counts), limit)]
}
