// Package outboxtest holds the suite that every [outbox.Store] passes.
//
// The suite covers what the interface's documentation says, sentence by
// sentence, and nothing that it leaves open. The test of a store is one call:
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
// Options add what not every store has: [Reopening] checks that records
// outlive the store, [Bounded] that the store refuses more than its bound,
// [InBubble] runs each test in a bubble of testing/synctest, in which time
// needs no waiting and its edges are checked to the microsecond. A store
// with a method Close() error is also checked to answer [outbox.ErrClosed]
// after it.
package outboxtest
