package outboxtest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// Option configures the suite for a store.
type Option func(*suite) error

// InBubble runs each test in a bubble of [testing/synctest]. It is for stores that
// live in the process, read its clock, and stop their goroutines when they are
// closed; the open function must close them with t.Cleanup.
func InBubble() Option {
	return func(s *suite) error {
		s.bubble = true
		return nil
	}
}

// Reopening adds the tests of durability. The function closes the store and opens it
// again.
func Reopening(reopen func(t *testing.T, store outbox.Store) outbox.Store) Option {
	return func(s *suite) error {
		if reopen == nil {
			return errors.New("Reopening: the function is nil")
		}
		s.reopen = reopen
		return nil
	}
}

// Bounded adds the tests of a store's bounds. The function opens an empty store with
// the given bounds; zero means no bound.
func Bounded(open func(t *testing.T, maxRecords int, maxBytes int64) outbox.Store) Option {
	return func(s *suite) error {
		if open == nil {
			return errors.New("Bounded: the function is nil")
		}
		s.bounded = open
		return nil
	}
}

// suite describes the store under test.
type suite struct {
	open    func(t *testing.T) outbox.Store
	reopen  func(t *testing.T, store outbox.Store) outbox.Store
	bounded func(t *testing.T, maxRecords int, maxBytes int64) outbox.Store
	bubble  bool
}

// Run runs the suite, each test as a subtest with a new store. The open function
// returns an empty store and registers its release with t.Cleanup. A nil or invalid
// option fails the test.
func Run(t *testing.T, open func(t *testing.T) outbox.Store, options ...Option) {
	t.Helper()
	s := &suite{open: open}
	for i, option := range options {
		if option == nil {
			t.Fatalf("outboxtest: options[%d] is nil", i)
		}
		if err := option(s); err != nil {
			t.Fatalf("outboxtest: %v", err)
		}
	}
	groups := map[string]map[string]func(*env){
		"Insert":     insertTests,
		"Dedup":      dedupTests,
		"Claim":      claimTests,
		"ByTopic":    claimByTopicTests,
		"Reschedule": rescheduleTests,
		"Delete":     deleteTests,
		"Read":       readTests,
		"Select":     selectTests,
		"Misuse":     misuseTests,
		"Durable":    durableTests,
		"Bounds":     boundTests,
		"Keep":       keepTests,
		"Topics":     topicTests,
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		if group == "Durable" && s.reopen == nil || group == "Bounds" && s.bounded == nil {
			continue
		}
		t.Run(group, func(t *testing.T) {
			tests := groups[group]
			for _, name := range slices.Sorted(maps.Keys(tests)) {
				t.Run(name, func(t *testing.T) { s.run(t, tests[name]) })
			}
		})
	}
}

// run runs one test, in a bubble if that is configured.
func (s *suite) run(t *testing.T, test func(*env)) {
	if s.bubble {
		synctest.Test(t, func(t *testing.T) { test(newEnv(t, s)) })
		return
	}
	test(newEnv(t, s))
}
