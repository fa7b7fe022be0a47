package outbox

import (
	"context"
	"iter"
)

// Lister lists records page by page: a [Store], or the Outbox of a client.
type Lister interface {
	List(ctx context.Context, query Query) ([]Entry, error)
}

// All returns an iterator over all records that a query selects, by ascending ID:
//
//	dead := outbox.Dead
//	for entry, err := range outbox.All(ctx, store, outbox.Query{State: &dead}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(entry.ID, entry.Topic, entry.LastError)
//	}
//
// The query's Limit is the most records in total; zero means all. The iterator
// fetches pages of 100 records, or of 500 without payloads (a negative
// MaxPayload), and holds no transaction or connection between them. Records that
// are inserted or deleted in the meantime may or may not be visited; none is
// visited twice.
//
// An error ends the iteration and comes with the zero Entry: ErrInvalid for a
// query that cannot be carried out, the error of List, or that of the context once
// it is done.
func All(ctx context.Context, from Lister, query Query) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		query := query // each use of the iterator begins anew
		limit := query.Limit
		if err := query.Validate(); err != nil {
			yield(Entry{}, err)
			return
		}
		page := DefaultQueryLimit
		if query.MaxPayload < 0 {
			page = 500
		}
		for visited := 0; limit == 0 || visited < limit; {
			query.Limit = page
			if limit > 0 {
				query.Limit = min(page, limit-visited)
			}
			entries, err := list(ctx, from, query)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range entries {
				if err := ctx.Err(); err != nil {
					yield(Entry{}, err)
					return
				}
				if !yield(entry, nil) {
					return
				}
			}
			if len(entries) < query.Limit {
				return
			}
			visited += len(entries)
			query.After = entries[len(entries)-1].ID
		}
	}
}

// list fetches a page, unless the context is done.
func list(ctx context.Context, from Lister, query Query) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return from.List(ctx, query)
}
