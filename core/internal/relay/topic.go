package relay

import (
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// topic holds the rows of one topic that the relay has in memory.
type topic struct {
	name string
	// newRows and failed are the rows that wait for a slot, grouped by request.
	// Failed rows are separate, because a row that has failed before may fail
	// every time, together with the request that it shares.
	newRows, failed []*group
	// running counts the slots of the topic, and runningFailed its slots with
	// rows that have failed before.
	running, runningFailed int
	queued                 bool
	active                 bool // as counted by the dispatcher
	// newLast means that the last slot got new rows.
	newLast bool
	// more means that the outbox may have more due rows.
	more bool
	// slowUntil is set when a post timed out, and reset by a post that did not.
	slowUntil time.Time
}

// group holds rows that may share a request.
type group struct {
	attributes string
	deliverAt  time.Time // zero for immediate delivery
	records    []outbox.Record
	until      time.Time // when the last request may begin
	handed     bool      // the rows were not claimed
}

func (t *topic) waiting() bool { return len(t.newRows)+len(t.failed) > 0 }

// bytes returns the size of the rows that wait for a slot.
func (t *topic) bytes() int64 {
	sum := int64(0)
	for _, g := range slices.Concat(t.newRows, t.failed) {
		sum += sizeOf(g.records)
	}
	return sum
}

func (t *topic) slow() bool { return !t.slowUntil.IsZero() && time.Now().Before(t.slowUntil) }

func sizeOf(records []outbox.Record) int64 {
	sum := int64(0)
	for i := range records {
		sum += records[i].Size()
	}
	return sum
}

// add groups rows by the request that they may share.
func (t *topic) add(records []outbox.Record, until time.Time, handed bool) {
	type key struct {
		attributes string
		deliverAt  int64
		failed     bool
	}
	byKey := map[key]*group{}
	for _, record := range records {
		batch := message.Batch{DeliverAt: record.DeliverAt}
		k := key{attributes: string(record.Attributes), failed: record.Attempts > 1 && record.LastError != ""}
		scheduled := batch.Scheduled()
		if scheduled {
			k.deliverAt = record.DeliverAt.UnixMicro()
		}
		g := byKey[k]
		if g == nil {
			g = &group{attributes: k.attributes, until: until, handed: handed}
			if scheduled {
				g.deliverAt = record.DeliverAt
			}
			byKey[k] = g
			if k.failed {
				t.failed = append(t.failed, g)
			} else {
				t.newRows = append(t.newRows, g)
			}
		}
		g.records = append(g.records, record)
	}
}

// takeChunk takes the rows for one slot: one row, a group that shares a
// request, or rows with separate requests.
func takeChunk(groups *[]*group, one bool, slots int) []*group {
	first := (*groups)[0]
	if one && len(first.records) > 1 {
		single := *first
		single.records = first.records[:1:1]
		first.records = first.records[1:]
		return []*group{&single}
	}
	n := 1
	if first.single() && !one {
		limit := min(max(len(*groups)/slots, 1), maxSingles) // the rest is for other slots
		for n < len(*groups) && n < limit && (*groups)[n].single() {
			n++
		}
	}
	chunk := slices.Clone((*groups)[:n])
	*groups = slices.Delete(*groups, 0, n)
	return chunk
}

// single reports whether the group is one row that needs a separate request and
// may share a batch with similar rows.
func (g *group) single() bool { return len(g.records) == 1 && g.deliverAt.IsZero() }
