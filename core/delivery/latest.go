package delivery

import (
	"errors"
	"fmt"
)

// latest is what WithLatest sets.
type latest[T any] struct {
	key     func(m Message[T]) string
	version func(m Message[T]) int64
}

// WithLatest skips messages that newer ones have overtaken: a message whose key
// was handled with its version or a newer one is acknowledged with 204, and the
// function is not called. Versions are compared as numbers, so a revision or a
// time will do, such as m.Payload.UpdatedAt.UnixMicro(); equal versions are
// copies.
//
// The deduplicator of [WithDeduplication], which must be a [LatestDeduplicator]
// and is required, remembers the latest version of each key instead of the id of
// each message, for [WithKeep] after it was handled. [DoneTx], [WithScope] and
// [WithLease] apply to it.
//
// One message of a key is handled at a time; any other that is newer than the
// last one gets 409 and comes again. A version is remembered when the function
// has succeeded, or returned [Discard]. After a failure the version before
// counts, so an older message that comes before the retry is handled.
//
// A message whose key is empty is deduplicated by its id, as without WithLatest.
// Both functions are called for each message that was decoded, must be quick and
// must not change it; if one panics, the answer is 500. T is that of the
// handler's function.
func WithLatest[T any](key func(m Message[T]) string, version func(m Message[T]) int64) Option {
	return func(s *settings) error {
		if key == nil {
			return errors.New("WithLatest: key is nil")
		}
		if version == nil {
			return errors.New("WithLatest: version is nil")
		}
		s.latest = latest[T]{key: key, version: version}
		return nil
	}
}

// latestOf returns the function that tells the key and the version of a message.
// Without WithLatest all keys are empty.
func latestOf[T any](s *settings) (func(m Message[T]) (string, int64), error) {
	if s.latest == nil {
		return func(Message[T]) (string, int64) { return "", 0 }, nil
	}
	typed, ok := s.latest.(latest[T])
	if !ok {
		return nil, fmt.Errorf("WithLatest: its functions take other messages than the handler's, which are %T", Message[T]{})
	}
	switch s.deduplicator.(type) {
	case LatestDeduplicator:
	case nil:
		return nil, errors.New("WithLatest: WithDeduplication is missing")
	default:
		return nil, fmt.Errorf("WithLatest: the deduplicator %T is no LatestDeduplicator", s.deduplicator)
	}
	return func(m Message[T]) (string, int64) {
		key := typed.key(m)
		if key == "" {
			return "", 0
		}
		return key, typed.version(m)
	}, nil
}
