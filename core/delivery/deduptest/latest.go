package deduptest

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// RunLatest runs the suite of a [delivery.LatestDeduplicator]'s versions, each check
// as a subtest with an empty deduplicator. [Run] checks the other methods.
func RunLatest(t *testing.T, open func(t *testing.T) delivery.LatestDeduplicator) {
	t.Helper()
	for _, check := range []struct {
		name string
		run  func(t *testing.T, d delivery.LatestDeduplicator)
	}{
		{"OneOfAKeyBegins", oneOfAKeyBegins},
		{"OlderIsHandled", olderIsHandled},
		{"AbortKeepsTheVersion", abortKeepsTheVersion},
		{"AbortOfTheFirst", abortOfTheFirst},
		{"EndOfTheLeaseKeepsTheVersion", endOfTheLeaseKeepsTheVersion},
		{"LateOneDoesNotOverwrite", lateOneDoesNotOverwrite},
		{"DoneMayBeRepeated", doneMayBeRepeated},
		{"KeepOfAVersionEnds", keepOfAVersionEnds},
		{"AllVersions", allVersions},
		{"ApartFromMessages", apartFromMessages},
		{"KeysOfVersionsAreDistinct", keysOfVersionsAreDistinct},
		{"ForeignTokenOfAVersion", foreignTokenOfAVersion},
		{"OneVersionOfManyBegins", oneVersionOfManyBegins},
		{"EndedContextOfAVersion", endedContextOfAVersion},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, open(t)) })
	}
}

// beginVersion begins a version, which must be free.
func beginVersion(t *testing.T, d delivery.LatestDeduplicator, key string, version int64, lease time.Duration) string {
	t.Helper()
	state, token, err := d.BeginLatest(t.Context(), key, version, lease)
	require.NoError(t, err)
	require.Equal(t, delivery.Begun, state, "version %d", version)
	require.NotEmpty(t, token)
	return token
}

// expectVersions expects a state other than Begun for each version.
func expectVersions(t *testing.T, d delivery.LatestDeduplicator, key string, want delivery.State, versions ...int64) {
	t.Helper()
	for _, version := range versions {
		state, token, err := d.BeginLatest(t.Context(), key, version, long)
		require.NoError(t, err)
		require.Equal(t, want, state, "version %d", version)
		require.Empty(t, token)
	}
}

// handle begins a version and marks it as done.
func handle(t *testing.T, d delivery.LatestDeduplicator, key string, version int64, keep time.Duration) string {
	t.Helper()
	token := beginVersion(t, d, key, version, long)
	require.NoError(t, d.Done(t.Context(), key, token, keep))
	return token
}

func oneOfAKeyBegins(t *testing.T, d delivery.LatestDeduplicator) {
	beginVersion(t, d, "key", 5, long)
	expectVersions(t, d, "key", delivery.Running, 4, 5, 6)
}

func olderIsHandled(t *testing.T, d delivery.LatestDeduplicator) {
	handle(t, d, "key", 5, long)
	expectVersions(t, d, "key", delivery.Handled, 4, 5)
	token := beginVersion(t, d, "key", 7, long)
	expectVersions(t, d, "key", delivery.Handled, 4, 5) // also while another version is handled
	expectVersions(t, d, "key", delivery.Running, 6, 7, 8)
	require.NoError(t, d.Done(t.Context(), "key", token, long))
	expectVersions(t, d, "key", delivery.Handled, 4, 5, 6, 7)
	beginVersion(t, d, "key", 8, long)
}

func abortKeepsTheVersion(t *testing.T, d delivery.LatestDeduplicator) {
	handle(t, d, "key", 5, long)
	first := beginVersion(t, d, "key", 7, long)
	require.NoError(t, d.Abort(t.Context(), "key", first))
	expectVersions(t, d, "key", delivery.Handled, 4, 5)
	second := beginVersion(t, d, "key", 6, long)
	require.NoError(t, d.Abort(t.Context(), "key", first)) // the token was of another claim
	expectVersions(t, d, "key", delivery.Running, 6, 7)
	require.NoError(t, d.Done(t.Context(), "key", second, long))
	expectVersions(t, d, "key", delivery.Handled, 5, 6)
	beginVersion(t, d, "key", 7, long)
}

func abortOfTheFirst(t *testing.T, d delivery.LatestDeduplicator) {
	token := beginVersion(t, d, "key", 5, long)
	require.NoError(t, d.Abort(t.Context(), "key", token))
	beginVersion(t, d, "key", 4, long)
}

func endOfTheLeaseKeepsTheVersion(t *testing.T, d delivery.LatestDeduplicator) {
	handle(t, d, "key", 5, long)
	beginVersion(t, d, "key", 7, time.Microsecond)
	pass(t, d)
	expectVersions(t, d, "key", delivery.Handled, 4, 5)
	beginVersion(t, d, "key", 6, long)
}

// lateOneDoesNotOverwrite ends an older version after a newer one.
func lateOneDoesNotOverwrite(t *testing.T, d delivery.LatestDeduplicator) {
	late := beginVersion(t, d, "key", 5, time.Microsecond)
	pass(t, d)
	token := beginVersion(t, d, "key", 6, long)
	require.ErrorIs(t, d.Done(t.Context(), "key", late, long), delivery.ErrLeaseLost)
	require.NoError(t, d.Abort(t.Context(), "key", late))
	expectVersions(t, d, "key", delivery.Running, 5, 6, 7)
	require.NoError(t, d.Done(t.Context(), "key", token, long))
	require.ErrorIs(t, d.Done(t.Context(), "key", late, long), delivery.ErrLeaseLost)
	expectVersions(t, d, "key", delivery.Handled, 5, 6)
	beginVersion(t, d, "key", 7, long)
}

func doneMayBeRepeated(t *testing.T, d delivery.LatestDeduplicator) {
	token := handle(t, d, "key", 5, long)
	require.NoError(t, d.Done(t.Context(), "key", token, long))
	require.NoError(t, d.Abort(t.Context(), "key", token))
	expectVersions(t, d, "key", delivery.Handled, 5) // Abort has no effect on a version that is done
	next := beginVersion(t, d, "key", 6, long)
	require.ErrorIs(t, d.Done(t.Context(), "key", token, long), delivery.ErrLeaseLost)
	require.NoError(t, d.Done(t.Context(), "key", next, long))
	expectVersions(t, d, "key", delivery.Handled, 5, 6)
}

func keepOfAVersionEnds(t *testing.T, d delivery.LatestDeduplicator) {
	handle(t, d, "key", 5, short)
	pass(t, d)
	beginVersion(t, d, "key", 4, long)
	expectVersions(t, d, "key", delivery.Running, 5)
}

func allVersions(t *testing.T, d delivery.LatestDeduplicator) {
	versions := []int64{math.MinInt64, math.MinInt64 + 1, -10, -9, -1, 0, 1, 9, 10, math.MaxInt64 - 1, math.MaxInt64}
	for i, version := range versions {
		handle(t, d, "key", version, long)
		expectVersions(t, d, "key", delivery.Handled, versions[:i+1]...)
	}
}

// apartFromMessages uses one text for a message and for a key with versions.
func apartFromMessages(t *testing.T, d delivery.LatestDeduplicator) {
	message := begin(t, d, "key", long)
	version := beginVersion(t, d, "key", 5, long)
	require.NoError(t, d.Done(t.Context(), "key", version, long))
	expect(t, d, "key", delivery.Running)
	require.NoError(t, d.Abort(t.Context(), "key", message))
	expectVersions(t, d, "key", delivery.Handled, 5)
	message = begin(t, d, "key", long)
	require.NoError(t, d.Done(t.Context(), "key", message, long))
	expect(t, d, "key", delivery.Handled)
	beginVersion(t, d, "key", 6, long)
}

func keysOfVersionsAreDistinct(t *testing.T, d delivery.LatestDeduplicator) {
	keys := []string{"key", "Key", "key ", " key", "", "'; --", "a\x00b", "\xff", "\xfe", "key 5", strings.Repeat("k", 5000), strings.Repeat("k", 5001)}
	for _, key := range keys {
		handle(t, d, key, 5, long)
		beginVersion(t, d, key, 6, long)
	}
	for _, key := range keys {
		expectVersions(t, d, key, delivery.Running, 6)
		expectVersions(t, d, key, delivery.Handled, 5)
	}
}

func foreignTokenOfAVersion(t *testing.T, d delivery.LatestDeduplicator) {
	other := beginVersion(t, d, "other", 9, long)
	beginVersion(t, d, "key", 5, long)
	for _, foreign := range []string{"", "x", "5 ", "5 x", "it's", "9223372036854775808 x", other, strings.Repeat("x", 1000)} {
		require.ErrorIs(t, d.Done(t.Context(), "key", foreign, long), delivery.ErrLeaseLost)
		require.NoError(t, d.Abort(t.Context(), "key", foreign))
	}
	expectVersions(t, d, "key", delivery.Running, 4, 5, 6)
	expectVersions(t, d, "other", delivery.Running, 9)
}

func oneVersionOfManyBegins(t *testing.T, d delivery.LatestDeduplicator) {
	handle(t, d, "key", 0, long)
	var mu sync.Mutex
	counts := map[delivery.State]int{}
	var all sync.WaitGroup
	ready := make(chan struct{})
	for i := range int64(50) {
		all.Go(func() {
			<-ready
			state, _, err := d.BeginLatest(t.Context(), "key", i%25, long)
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			counts[state]++
		})
	}
	close(ready)
	all.Wait()
	require.Equal(t, 1, counts[delivery.Begun])
	require.Equal(t, 2, counts[delivery.Handled])
	require.Equal(t, 47, counts[delivery.Running])
}

func endedContextOfAVersion(t *testing.T, d delivery.LatestDeduplicator) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := d.BeginLatest(ctx, "key", 5, long)
	require.ErrorIs(t, err, context.Canceled)
	token := beginVersion(t, d, "key", 5, long)
	require.ErrorIs(t, d.Done(ctx, "key", token, long), context.Canceled)
	require.ErrorIs(t, d.Abort(ctx, "key", token), context.Canceled)
	expectVersions(t, d, "key", delivery.Running, 5)
}
