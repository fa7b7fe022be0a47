package deduptest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
)

const (
	// long is longer than any check takes.
	long = time.Hour
	// short is a duration whose end the checks wait for.
	short = 50 * time.Millisecond
	// patience bounds operations that should return at once.
	patience = 20 * time.Second
)

// Run runs the suite, each check as a subtest with an empty deduplicator.
func Run(t *testing.T, open func(t *testing.T) delivery.Deduplicator) {
	t.Helper()
	for _, check := range []struct {
		name string
		run  func(t *testing.T, d delivery.Deduplicator)
	}{
		{"OneBegins", oneBegins},
		{"DoneIsHandled", doneIsHandled},
		{"AbortReleases", abortReleases},
		{"LeaseEnds", leaseEnds},
		{"DoneAfterTheLease", doneAfterTheLease},
		{"KeepEnds", keepEnds},
		{"ForeignToken", foreignToken},
		{"TakenOver", takenOver},
		{"KeysAreDistinct", keysAreDistinct},
		{"OneOfManyBegins", oneOfManyBegins},
		{"OneOfManyTakesOver", oneOfManyTakesOver},
		{"EndedContext", endedContext},
	} {
		t.Run(check.name, func(t *testing.T) { check.run(t, open(t)) })
	}
}

// begin begins a key, which must be free.
func begin(t *testing.T, d delivery.Deduplicator, key string, lease time.Duration) string {
	t.Helper()
	state, token, err := d.Begin(t.Context(), key, lease)
	require.NoError(t, err)
	require.Equal(t, delivery.Begun, state)
	require.NotEmpty(t, token)
	return token
}

// expect expects a state other than Begun.
func expect(t *testing.T, d delivery.Deduplicator, key string, want delivery.State) {
	t.Helper()
	state, token, err := d.Begin(t.Context(), key, long)
	require.NoError(t, err)
	require.Equal(t, want, state)
	require.Empty(t, token)
}

// beginSoon waits until a key is free.
func beginSoon(t *testing.T, d delivery.Deduplicator, key string) string {
	t.Helper()
	var token string
	require.Eventually(t, func() bool {
		state, got, err := d.Begin(t.Context(), key, long)
		require.NoError(t, err)
		token = got
		return state == delivery.Begun
	}, patience, short/5)
	return token
}

func oneBegins(t *testing.T, d delivery.Deduplicator) {
	begin(t, d, "key", long)
	expect(t, d, "key", delivery.Running)
	expect(t, d, "key", delivery.Running)
}

func doneIsHandled(t *testing.T, d delivery.Deduplicator) {
	token := begin(t, d, "key", long)
	require.NoError(t, d.Done(t.Context(), "key", token, long))
	expect(t, d, "key", delivery.Handled)
	require.NoError(t, d.Done(t.Context(), "key", token, long), "Done may be repeated")
	require.NoError(t, d.Abort(t.Context(), "key", token))
	expect(t, d, "key", delivery.Handled) // Abort has no effect on a message that is done
}

func abortReleases(t *testing.T, d delivery.Deduplicator) {
	first := begin(t, d, "key", long)
	require.NoError(t, d.Abort(t.Context(), "key", first))
	second := begin(t, d, "key", long)
	assert.NotEqual(t, first, second)
	require.NoError(t, d.Abort(t.Context(), "key", first))
	expect(t, d, "key", delivery.Running) // the token belonged to another claim
	require.NoError(t, d.Abort(t.Context(), "unknown", first))
}

// pass waits until a short duration has passed for the deduplicator.
func pass(t *testing.T, d delivery.Deduplicator) {
	t.Helper()
	begin(t, d, "witness", short)
	beginSoon(t, d, "witness")
}

func leaseEnds(t *testing.T, d delivery.Deduplicator) {
	begin(t, d, "key", short)
	pass(t, d)
	begin(t, d, "key", long)
	expect(t, d, "key", delivery.Running)
}

// doneAfterTheLease lets a lease end without another claim.
func doneAfterTheLease(t *testing.T, d delivery.Deduplicator) {
	token := begin(t, d, "key", time.Microsecond)
	pass(t, d)
	if err := d.Done(t.Context(), "key", token, long); err != nil {
		require.ErrorIs(t, err, delivery.ErrLeaseLost)
		begin(t, d, "key", long) // the claim was forgotten, not done
		return
	}
	expect(t, d, "key", delivery.Handled)
}

func keepEnds(t *testing.T, d delivery.Deduplicator) {
	token := begin(t, d, "key", long)
	require.NoError(t, d.Done(t.Context(), "key", token, short))
	pass(t, d)
	begin(t, d, "key", long)
	expect(t, d, "key", delivery.Running)
}

func foreignToken(t *testing.T, d delivery.Deduplicator) {
	token := begin(t, d, "key", long)
	for _, foreign := range []string{"", "x", "it's", strings.Repeat("x", 1000)} {
		require.ErrorIs(t, d.Done(t.Context(), "key", foreign, long), delivery.ErrLeaseLost)
		require.NoError(t, d.Abort(t.Context(), "key", foreign))
	}
	require.ErrorIs(t, d.Done(t.Context(), "unknown", token, long), delivery.ErrLeaseLost)
	expect(t, d, "key", delivery.Running)
}

func takenOver(t *testing.T, d delivery.Deduplicator) {
	late := begin(t, d, "key", short)
	token := beginSoon(t, d, "key")
	require.ErrorIs(t, d.Done(t.Context(), "key", late, long), delivery.ErrLeaseLost)
	require.NoError(t, d.Abort(t.Context(), "key", late))
	expect(t, d, "key", delivery.Running)
	require.NoError(t, d.Done(t.Context(), "key", token, long))
	expect(t, d, "key", delivery.Handled)
}

func keysAreDistinct(t *testing.T, d delivery.Deduplicator) {
	keys := []string{
		"key", "Key", "key ", " key", "kéy", "ke", "", "'; --", "a\x00b", "a\x00c", "\xff", "\xfe", "\n",
		strings.Repeat("k", 5000), strings.Repeat("k", 5001),
	}
	tokens := map[string]bool{}
	for _, key := range keys {
		tokens[begin(t, d, key, long)] = true
	}
	assert.Len(t, tokens, len(keys))
	for _, key := range keys {
		expect(t, d, key, delivery.Running)
	}
}

// compete begins a key from many goroutines at once and returns the tokens of those
// that got it.
func compete(t *testing.T, d delivery.Deduplicator, key string) []string {
	t.Helper()
	var mu sync.Mutex
	var tokens []string
	var all sync.WaitGroup
	ready := make(chan struct{})
	for range 50 {
		all.Go(func() {
			<-ready
			state, token, err := d.Begin(t.Context(), key, long)
			assert.NoError(t, err)
			mu.Lock()
			defer mu.Unlock()
			if state == delivery.Begun {
				tokens = append(tokens, token)
			} else {
				assert.Equal(t, delivery.Running, state)
			}
		})
	}
	close(ready)
	all.Wait()
	return tokens
}

func oneOfManyBegins(t *testing.T, d delivery.Deduplicator) {
	for _, key := range []string{"a", "b", "c"} {
		require.Len(t, compete(t, d, key), 1)
	}
}

func oneOfManyTakesOver(t *testing.T, d delivery.Deduplicator) {
	late := begin(t, d, "key", time.Microsecond)
	pass(t, d)
	tokens := compete(t, d, "key")
	require.Len(t, tokens, 1)
	require.NotEqual(t, late, tokens[0])
}

func endedContext(t *testing.T, d delivery.Deduplicator) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := d.Begin(ctx, "key", long)
	require.ErrorIs(t, err, context.Canceled)
	token := begin(t, d, "key", long)
	require.ErrorIs(t, d.Done(ctx, "key", token, long), context.Canceled)
	require.ErrorIs(t, d.Abort(ctx, "key", token), context.Canceled)
	expect(t, d, "key", delivery.Running)
}
