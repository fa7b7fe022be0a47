package delivery

import (
	"errors"
	"fmt"
)

// latest holds the functions of WithLatest.
type latest[T any] struct {
	key     func(m Message[T]) string
	version func(m Message[T]) int64
}

// WithLatest skips outdated messages: if a message of the same key was handled with
// the same or a newer version, the message is acknowledged with 204, and the
// function is not called. Versions are compared as numbers, so use a revision or a
// time, such as m.Payload.UpdatedAt.UnixMicro(); messages with equal versions are
// copies.
//
// WithLatest requires [WithDeduplication] with a [LatestDeduplicator]. It remembers
// the latest version of each key instead of the id of each message, for [WithKeep]
// after it was handled. [DoneTx], [WithScope] and [WithLease] apply.
//
// One message of a key is handled at a time; any other that is newer than the last
// one gets 409 and is posted again. A version is remembered when the function has
// succeeded or returned [Discard]. After a failure the previous version counts, so
// an older message that arrives before the retry is handled.
//
// A message with an empty key is deduplicated by its id, as without WithLatest. Both
// functions are called for each decoded message, must be fast and must not modify
// it; if one panics, the answer is 500. T must be the type of the handler's
// function.
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

// latestOf returns the function that returns the key and the version of a message.
// Without WithLatest all keys are empty.
func latestOf[T any](s *settings) (func(m Message[T]) (string, int64), error) {
	if s.latest == nil {
		return func(Message[T]) (string, int64) { return "", 0 }, nil
	}
	typed, ok := s.latest.(latest[T])
	if !ok {
		return nil, fmt.Errorf("WithLatest: its functions do not take the handler's messages, which are %T", Message[T]{})
	}
	switch s.deduplicator.(type) {
	case LatestDeduplicator:
	case nil:
		return nil, errors.New("WithLatest: it needs WithDeduplication")
	default:
		return nil, fmt.Errorf("WithLatest: the deduplicator %T is not a LatestDeduplicator", s.deduplicator)
	}
	return func(m Message[T]) (string, int64) {
		key := typed.key(m)
		if key == "" {
			return "", 0
		}
		return key, typed.version(m)
	}, nil
}
