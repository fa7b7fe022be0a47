// Package deduptest is the suite that every [delivery.Deduplicator] passes:
//
//	func TestDeduplicator(t *testing.T) {
//		deduptest.Run(t, func(t *testing.T) delivery.Deduplicator { return newOne(t) })
//	}
//
// [RunLatest] is the one that every [delivery.LatestDeduplicator] passes, too.
// The suites wait for leases of a fraction of a second to end.
package deduptest
