// Package deduptest is the conformance suite for implementations of
// [delivery.Deduplicator]:
//
//	func TestDeduplicator(t *testing.T) {
//		deduptest.Run(t, func(t *testing.T) delivery.Deduplicator { return newOne(t) })
//	}
//
// [RunLatest] is the additional suite for [delivery.LatestDeduplicator]. The suites
// wait for leases of a fraction of a second to end.
package deduptest
