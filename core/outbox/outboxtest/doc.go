// Package outboxtest is the conformance suite for implementations of [outbox.Store].
//
// The suite covers the interface's documentation sentence by sentence, and nothing
// that it leaves open. The test of a store is one call:
//
//	func TestStore(t *testing.T) {
//		outboxtest.Run(t, func(t *testing.T) outbox.Store {
//			store, err := mystore.Open(t.TempDir())
//			require.NoError(t, err)
//			t.Cleanup(func() { store.Close() })
//			return store
//		})
//	}
//
// Options add tests for what not every store has: [Reopening] checks that records
// outlive the store, [Bounded] that the store rejects more than its bound.
// [InBubble] runs each test in a bubble of testing/synctest, in which tests do not
// wait and check times to the microsecond. If a store has a method Close() error,
// the suite also checks that it returns [outbox.ErrClosed] afterwards.
package outboxtest
