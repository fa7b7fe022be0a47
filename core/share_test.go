package core_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// result is what a call of several has returned.
type result struct {
	receipt core.Receipt
	err     error
	took    time.Duration
	panic   any
}

// concurrently publishes from so many goroutines at the same time, and returns their
// results when all have returned.
func concurrently(callers int, publish func(i int) (core.Receipt, error)) []result {
	results := make([]result, callers)
	var group sync.WaitGroup
	start := time.Now()
	for i := range callers {
		group.Go(func() {
			defer func() {
				results[i].panic = recover()
				results[i].took = time.Since(start)
			}()
			results[i].receipt, results[i].err = publish(i)
		})
	}
	group.Wait()
	return results
}

// good is the payload of the i-th caller.
func good(i int) map[string]string { return map[string]string{"good": fmt.Sprint(i)} }

// after is the verdict of a server that takes a message after some time.
func after(d time.Duration) func(post) verdict {
	return func(post) verdict { return verdict{status: http.StatusCreated, after: d} }
}

// bulks counts the bulk requests and those with one message.
func (s *bubbleServer) bulks() (bulk, single int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		if strings.Contains(p.path, "bulk") {
			bulk++
		} else {
			single++
		}
	}
	return bulk, single
}

func TestConcurrentCallsShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{})
		results := concurrently(64, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) })
		known := 0
		for _, r := range results {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
			assert.LessOrEqual(t, r.took, 20*time.Millisecond)
			if r.receipt.Jobs != nil {
				assert.Equal(t, []int64{1}, r.receipt.Jobs)
				known++
			}
		}
		assert.Equal(t, 2, known, "calls that know their jobs: those with a request of their own")
		bulk, single := server.bulks()
		assert.Equal(t, []int{1, 2}, []int{bulk, single}, "requests")
		arrivals, different := server.count("good")
		assert.Equal(t, []int{64, 64}, []int{arrivals, different})
	})
}

// A call alone has a request of its own, at once, also after others have shared.
func TestNobodyWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{})
		for range 3 {
			for _, r := range concurrently(1, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
				require.NoError(t, r.err)
				assert.Equal(t, 10*time.Millisecond, r.took)
				assert.Equal(t, []int64{1}, r.receipt.Jobs)
			}
			concurrently(10, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) })
		}
	})
}

func TestWhatDoesNotShare(t *testing.T) {
	large := strings.Repeat("x", 70_000)
	for name, c := range map[string]struct {
		config  core.Config
		publish func(client *core.Client, i int) (core.Receipt, error)
		single  int
	}{
		"by a setting": {core.Config{PostsPerTopic: -1, MaxPosts: 1}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", good(i))
		}, 10},
		"large messages": {core.Config{MaxPosts: 1}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", map[string]string{"good": fmt.Sprint(i), "text": large})
		}, 10},
		"large attributes": {core.Config{MaxPosts: 1}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", good(i), core.WithAttribute("text", large))
		}, 10},
		"attributes that differ": {core.Config{}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", good(i), core.WithAttribute("caller", i))
		}, 10},
		"topics that differ": {core.Config{}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), fmt.Sprint("orders", i), good(i))
		}, 10},
		"ids": {core.Config{}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", good(i), core.WithMessageID())
		}, 10},
		"scheduled messages": {core.Config{}, func(client *core.Client, i int) (core.Receipt, error) {
			return client.Publish(context.Background(), "orders", good(i), core.DeliverIn(time.Hour))
		}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &bubbleServer{judge: after(10 * time.Millisecond)}
				client, _ := bubbleClient(t, server, c.config)
				for _, r := range concurrently(10, func(i int) (core.Receipt, error) { return c.publish(client, i) }) {
					require.NoError(t, r.err)
					assert.Equal(t, []int64{1}, r.receipt.Jobs)
					assert.Less(t, r.took, 20*time.Millisecond, "all at the same time")
				}
				bulk, single := server.bulks()
				assert.Equal(t, []int{0, c.single}, []int{bulk, single})
			})
		})
	}
}

// However many topics and attributes there are: only so many requests are in
// progress.
func TestRequestsInProgressAreBounded(t *testing.T) {
	for name, option := range map[string]func(i int) core.PublishOption{
		"attributes": func(i int) core.PublishOption { return core.WithAttribute("caller", i) },
		"ids":        func(int) core.PublishOption { return core.WithMessageID() },
		"scheduled":  func(int) core.PublishOption { return core.DeliverIn(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &bubbleServer{judge: after(10 * time.Millisecond)}
				var busy, most atomic.Int32
				client, _ := bubbleClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
					for now, seen := busy.Add(1), most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
					}
					defer busy.Add(-1)
					return server.RoundTrip(r)
				}), core.Config{MaxPosts: 5})
				results := concurrently(20, func(i int) (core.Receipt, error) {
					return client.Publish(t.Context(), "orders", good(i), option(i))
				})
				for _, r := range results {
					require.NoError(t, r.err)
					assert.Equal(t, core.Delivered, r.receipt.State)
				}
				assert.EqualValues(t, 5, most.Load())
				assert.Equal(t, 20, server.requests())
			})
		})
	}
}

func TestBulkCallsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			if p.has(`"poison"`) {
				return verdict{status: http.StatusBadRequest, after: time.Millisecond}
			}
			return verdict{status: http.StatusCreated, after: time.Millisecond}
		}}
		client, _ := bubbleClient(t, server, core.Config{})
		results := concurrently(20, func(i int) (core.Receipt, error) {
			payloads := kinds(9, 0)
			if i == 13 {
				payloads[4] = map[string]string{"poison": "yes"}
			}
			return client.PublishBulk(t.Context(), "orders", payloads)
		})
		for i, r := range results {
			if i != 13 {
				require.NoError(t, r.err, i)
				assert.Equal(t, core.Delivered, r.receipt.State)
				continue
			}
			partial, ok := errors.AsType[*core.PartialError](r.err)
			require.True(t, ok, "%v", r.err)
			assert.Equal(t, []int{4}, partial.Indexes)
		}
		arrivals, different := server.count("good")
		assert.Equal(t, []int{20*9 - 1, 9}, []int{arrivals, different}, "each once")
		assert.Less(t, server.requests(), 30, "2 alone, and the rest cut in halves until one is left")
	})
}

// A message that fails its request, and hangs alone, holds up neighbours no longer
// than a single message may take.
func TestBulkCallsShareWithAMessageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			switch {
			case !p.has("poison"):
				return verdict{status: http.StatusCreated, after: time.Millisecond}
			case len(p.payloads) > 1:
				return verdict{status: http.StatusInternalServerError, after: time.Millisecond}
			}
			return hangs
		}}
		client, _ := bubbleClient(t, server, core.Config{Outbox: memory.New()})
		var before sync.WaitGroup // so that no call is posted alone
		for range 2 {
			before.Go(func() {
				_, err := client.PublishBulk(t.Context(), "orders", kinds(9, 0))
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		defer before.Wait()
		results := concurrently(20, func(i int) (core.Receipt, error) {
			payloads := kinds(9, 0)
			if i == 5 {
				payloads[4] = map[string]string{"poison": "yes"}
			}
			return client.PublishBulk(t.Context(), "orders", payloads)
		})
		for i, r := range results {
			require.NoError(t, r.err)
			assert.LessOrEqual(t, r.took, core.DefaultTimeout+100*time.Millisecond)
			if i == 5 {
				assert.Len(t, r.receipt.IDs, 1)
				continue
			}
			assert.Equal(t, core.Delivered, r.receipt.State, i)
		}
	})
}

// The others of a shared request neither fail nor wait for long, whatever the
// server makes of a message.
func TestPoisonInASharedRequest(t *testing.T) {
	for fate, v := range fates {
		t.Run(fate, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v.after = time.Millisecond
				server, store := poisoned(v), memory.New()
				healthy := server.judge
				server.judge = func(p post) verdict {
					if v := healthy(p); v.status != http.StatusCreated {
						return v
					}
					return verdict{status: http.StatusCreated, after: time.Millisecond}
				}
				client, changes := bubbleClient(t, server, core.Config{Outbox: store})
				results := concurrently(64, func(i int) (core.Receipt, error) {
					if i%32 == 7 {
						return client.Publish(t.Context(), "orders", map[string]string{"poison": fmt.Sprint(i)})
					}
					return client.Publish(t.Context(), "orders", good(i))
				})
				for i, r := range results {
					require.NoError(t, r.err)
					assert.Less(t, r.took, 150*time.Millisecond)
					if i%32 == 7 {
						assert.Equal(t, core.Stored, r.receipt.State)
						assert.Len(t, r.receipt.IDs, 1)
						continue
					}
					assert.Equal(t, core.Delivered, r.receipt.State, i)
					assert.Empty(t, r.receipt.IDs)
				}
				arrivals, different := server.count("good")
				assert.Equal(t, []int{62, 62}, []int{arrivals, different})
				assert.Equal(t, 2, stillStored(t, store))
				assert.Empty(t, changes.all(), "of the circuit breaker")
			})
		})
	}
}

// hangs is the verdict on a request that the server does not answer in time.
var hangs = verdict{status: http.StatusCreated, after: time.Hour}

// A message that makes the server hang holds up the ones that have come with it, and
// nobody else for longer than an eighth of the timeout.
func TestHangingMessageBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := poisoned(hangs), memory.New()
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		var group sync.WaitGroup
		for i := range 2 {
			group.Go(func() {
				receipt, err := client.Publish(t.Context(), "orders", map[string]string{"poison": fmt.Sprint(i)})
				assert.NoError(t, err)
				assert.Equal(t, core.Stored, receipt.State)
			})
		}
		synctest.Wait()
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
			assert.LessOrEqual(t, r.took, core.DefaultTimeout/8)
		}
		group.Wait()
	})
}

// Waiting, posting and cutting take no longer together than a request alone.
func TestSharedCallsEndInTime(t *testing.T) {
	for name, c := range map[string]struct {
		judge    func(post) verdict
		deadline time.Duration // of the callers
		within   time.Duration
	}{
		"hanging":                     {func(post) verdict { return hangs }, 0, core.DefaultTimeout},
		"hanging, with a deadline":    {func(post) verdict { return hangs }, 70 * time.Millisecond, 70 * time.Millisecond},
		"hanging, a shorter deadline": {func(post) verdict { return hangs }, 20 * time.Millisecond, 20 * time.Millisecond},
		"hanging, failing slowly": {func(p post) verdict {
			if len(p.payloads) > 1 {
				return verdict{status: http.StatusInternalServerError, after: 200 * time.Millisecond}
			}
			return hangs
		}, 0, core.DefaultTimeout},
	} {
		for _, topics := range []int{1, 64} {
			t.Run(fmt.Sprintf("%s/%d topics", name, topics), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := memory.New()
					client, _ := bubbleClient(t, &bubbleServer{judge: c.judge}, core.Config{Outbox: store, MaxPosts: 5})
					results := concurrently(64, func(i int) (core.Receipt, error) {
						ctx, cancel := t.Context(), context.CancelFunc(func() {})
						if c.deadline > 0 {
							ctx, cancel = context.WithTimeout(ctx, c.deadline)
						}
						defer cancel()
						return client.Publish(ctx, fmt.Sprint("orders", i%topics), good(i))
					})
					for _, r := range results {
						require.NoError(t, r.err)
						assert.Equal(t, core.Stored, r.receipt.State)
						assert.Len(t, r.receipt.IDs, 1)
						assert.LessOrEqual(t, r.took, c.within)
					}
					assert.Equal(t, 64, stillStored(t, store))
				})
			})
		}
	}
}

// What a call has stored at its deadline is not sent again when the request fails
// and is cut.
func TestSharedCallsThatEndBeforeARequestIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		server := &bubbleServer{judge: func(p post) verdict {
			if len(p.payloads) > 10 {
				return verdict{status: http.StatusInternalServerError, after: 100 * time.Millisecond}
			}
			return verdict{status: http.StatusCreated, after: 10 * time.Millisecond}
		}}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		results := concurrently(22, func(i int) (core.Receipt, error) {
			if i%2 == 0 {
				return client.Publish(t.Context(), "orders", good(i))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 70*time.Millisecond)
			defer cancel()
			return client.Publish(ctx, "orders", good(i))
		})
		stored := 0
		for _, r := range results {
			require.NoError(t, r.err)
			if r.receipt.State == core.Stored {
				stored++
			}
		}
		assert.GreaterOrEqual(t, stored, 9)
		arrivals, _ := server.count("good")
		assert.Equal(t, 22, arrivals+stored, "each once")
	})
}

// A request does not outlive the deadlines of all of its calls: it would occupy the
// place of others.
func TestSharedRequestsEndWithTheDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging atomic.Bool
		hanging.Store(true)
		server := &bubbleServer{judge: func(post) verdict {
			if hanging.Load() {
				return hangs
			}
			return verdict{status: http.StatusCreated, after: time.Millisecond}
		}}
		client, _ := bubbleClient(t, server, core.Config{Timeout: 30 * time.Second, MaxPosts: 4})
		publish := func(i int) (core.Receipt, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			return client.Publish(ctx, "orders", good(i))
		}
		for _, r := range concurrently(20, publish) {
			require.ErrorIs(t, r.err, context.DeadlineExceeded)
		}
		hanging.Store(false)
		start := time.Now()
		for _, r := range concurrently(20, publish) {
			require.NoError(t, r.err)
			assert.LessOrEqual(t, r.took, 2*time.Millisecond)
		}
		require.NoError(t, client.Stop(t.Context()))
		assert.LessOrEqual(t, time.Since(start), 2*time.Millisecond)
	})
}

// A deadline that is short beside the timeout leaves time to wait for others.
func TestSharedCallsWithAShortDeadline(t *testing.T) {
	for _, timeout := range []time.Duration{core.DefaultTimeout, 30 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _ := bubbleClient(t, &bubbleServer{judge: after(time.Millisecond)}, core.Config{Timeout: timeout})
				for _, r := range concurrently(10, func(i int) (core.Receipt, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
					defer cancel()
					return client.Publish(ctx, "orders", good(i))
				}) {
					require.NoError(t, r.err)
					assert.LessOrEqual(t, r.took, 2*time.Millisecond)
				}
			})
		})
	}
}

// A server that is slow with everything, but in time, gets all messages, as it does
// without bounds.
func TestSlowServerAndRequestsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, changes := bubbleClient(t, &bubbleServer{judge: after(300 * time.Millisecond)}, core.Config{Outbox: memory.New()})
		results := concurrently(64, func(i int) (core.Receipt, error) {
			for n := range 5 {
				receipt, err := client.Publish(t.Context(), "orders", good(i*5+n), core.WithMessageID())
				if err != nil || receipt.State != core.Delivered {
					return receipt, err
				}
			}
			return core.Receipt{State: core.Delivered}, nil
		})
		for _, r := range results {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
		}
		assert.Empty(t, changes.all())
	})
}

// A topic that hangs does not keep the requests of others from beginning.
func TestHangingTopicBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			if p.topic == "hanging" {
				return hangs
			}
			return verdict{status: http.StatusCreated, after: time.Millisecond}
		}}
		client, _ := bubbleClient(t, server, core.Config{Outbox: memory.New(), MaxPosts: 4})
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := client.Publish(t.Context(), "hanging", good(1), core.WithMessageID())
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "fine", good(i)) }) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
			assert.LessOrEqual(t, r.took, core.DefaultTimeout*3/8)
		}
		group.Wait()
	})
}

// Without an outbox a call that had no turn is an error, as one that timed out.
func TestNoTurnWithoutAnOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := bubbleClient(t, &bubbleServer{judge: func(post) verdict { return hangs }}, core.Config{MaxPosts: 1})
		results := concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), fmt.Sprint("t", i), good(i)) })
		waited := 0
		for _, r := range results {
			require.ErrorIs(t, r.err, core.ErrNotAccepted)
			assert.Equal(t, core.DefaultTimeout, r.took)
			if strings.Contains(r.err.Error(), "other requests") {
				waited++
			}
		}
		assert.Equal(t, 12, waited, "one gets a turn at once, and one each eighth of the timeout")
	})
}

func TestCancellationLeavesNoSharedCallUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(ctx, "orders", good(i)) }) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
		}
		arrivals, _ := server.count("good")
		assert.Equal(t, 20, arrivals)
	})
}

func TestStopAndFlushWaitForSharedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{})
		start := time.Now()
		stopped := make(chan error, 1)
		time.AfterFunc(5*time.Millisecond, func() {
			assert.NoError(t, client.Flush(t.Context()))
			err := client.Stop(t.Context())
			assert.Equal(t, 20*time.Millisecond, time.Since(start), "when the last call has returned")
			stopped <- err
		})
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) {
			return client.Publish(t.Context(), "orders", good(i))
		}) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
		}
		require.NoError(t, <-stopped)
		_, err := client.Publish(t.Context(), "orders", good(1))
		assert.ErrorIs(t, err, core.ErrClosed)
	})
}

// A panic of the app's transport reaches the call that posts, and costs the
// others nothing but a detour.
func TestPanicOfATransportBesideSharedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		var requests atomic.Int32
		client, _ := bubbleClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			response, err := server.RoundTrip(r)
			if n := requests.Add(1); n == 1 || n == 3 {
				panic("of the app")
			}
			return response, err
		}), core.Config{Outbox: store})
		results := concurrently(10, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) })
		states := map[core.State]int{}
		for _, r := range results {
			require.NoError(t, r.err)
			states[r.receipt.State]++
			if r.panic != nil {
				assert.Equal(t, "of the app", r.panic)
			}
		}
		assert.Equal(t, map[core.State]int{core.Unknown: 1, core.Delivered: 1, core.Stored: 8}, states)
		for _, r := range concurrently(10, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State, "afterwards all is well")
		}
	})
}

// Calls that wait do not wait for an open circuit breaker.
func TestBreakerOpensWhileCallsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		server := &bubbleServer{judge: func(p post) verdict {
			if p.topic == "slow" {
				return verdict{status: http.StatusCreated, after: 400 * time.Millisecond}
			}
			return verdict{status: http.StatusServiceUnavailable, header: http.Header{"Retry-After": {"1"}}, after: time.Millisecond}
		}}
		client, changes := bubbleClient(t, server, core.Config{Outbox: store, PostsPerTopic: 1, MaxPosts: 2})
		var failing sync.WaitGroup
		time.AfterFunc(time.Millisecond, func() {
			for i := range 5 {
				_, err := client.Publish(t.Context(), "failing", good(i))
				assert.NoError(t, err)
			}
		})
		results := concurrently(4, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "slow", good(i)) })
		failing.Wait()
		states := map[core.State]int{}
		for _, r := range results {
			require.NoError(t, r.err)
			states[r.receipt.State]++
			if r.receipt.State == core.Stored {
				assert.Equal(t, 6*time.Millisecond, r.took)
			}
		}
		assert.Equal(t, map[core.State]int{core.Delivered: 1, core.Stored: 3}, states)
		assert.Equal(t, core.BreakerOpen, changes.all()[0])
	})
}

// A server that hangs opens the circuit breaker as fast as without sharing.
func TestSharedTimeoutsOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client, changes := bubbleClient(t, hanging, core.Config{Outbox: store})
		for range 2 {
			concurrently(64, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) })
		}
		time.Sleep(core.DefaultTimeout / 4) // of the requests that outlive their calls
		assert.NotEmpty(t, changes.all())
	})
}

func TestFullOutboxAndSharedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(memory.WithMaxRecords(3))
		server := &bubbleServer{judge: func(post) verdict {
			return verdict{status: http.StatusInternalServerError, after: time.Millisecond}
		}}
		client, _ := bubbleClient(t, server, core.Config{Outbox: store})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		stored := 0
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(ctx, "orders", good(i)) }) {
			if r.err == nil {
				stored++
				continue
			}
			require.ErrorIs(t, r.err, core.ErrOutboxFull)
			require.ErrorIs(t, r.err, core.ErrNotAccepted)
			assert.Equal(t, 5*time.Second, r.took)
		}
		assert.Equal(t, 3, stored)
	})
}

// The client creates a topic that the server does not have, once for all.
func TestSharedCallsOfAnUnknownTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Bool
		server := &bubbleServer{judge: func(p post) verdict {
			switch {
			case made.Load():
				return taken
			case strings.Contains(p.path, "bulk"):
				return verdict{status: http.StatusNotAcceptable, after: time.Millisecond}
			}
			return verdict{status: http.StatusCreated, after: time.Millisecond}
		}}
		client, _ := bubbleClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "topics") {
				made.Store(true)
			}
			return server.RoundTrip(r)
		}), core.Config{Topics: []string{"orders"}, OriginHost: "http://app.test"})
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.NoError(t, r.err)
			assert.Equal(t, core.Delivered, r.receipt.State)
		}
		assert.Equal(t, 1, server.topics)
	})
}

// Everybody is told that nobody consumes the topic, whatever the request was
// shared with.
func TestSharedCallsOfATopicWithoutConsumers(t *testing.T) {
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://app.test/"}))
	synctest.Test(t, func(t *testing.T) {
		var seen events
		transport := server.Transport()
		client, _ := bubbleClient(t, roundTripFunc(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			return transport.RoundTrip(r)
		}), core.Config{Observer: seen.observer()})
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.NoError(t, r.err)
			assert.NotNil(t, r.receipt.Jobs)
			assert.Empty(t, r.receipt.Jobs)
		}
		messages := 0
		for _, event := range seen.of("no consumer") {
			messages += event.Messages
		}
		assert.Equal(t, 20, messages)
	})
}

// A shared request is linked to all of its calls.
func TestSharedRequestsHaveOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type name struct{}
		var mu sync.Mutex
		var origins []any
		sent := 0
		client, _ := bubbleClient(t, &bubbleServer{judge: after(time.Millisecond)}, core.Config{Observer: core.Observer{
			Origin: func(ctx context.Context) any { return ctx.Value(name{}) },
			Send: func(ctx context.Context, call core.SendCall) (context.Context, func(error)) {
				mu.Lock()
				defer mu.Unlock()
				origins = append(origins, call.Origins...)
				if own := ctx.Value(name{}); own != nil {
					origins = append(origins, own)
				}
				sent++
				return ctx, nil
			},
		}})
		concurrently(20, func(i int) (core.Receipt, error) {
			return client.Publish(context.WithValue(t.Context(), name{}, i), "orders", good(i))
		})
		assert.Equal(t, 3, sent)
		var want []any
		for i := range 20 {
			want = append(want, i)
		}
		assert.ElementsMatch(t, want, origins)
	})
}

func TestManyCallersShare(t *testing.T) {
	server := newServer(t, "orders", "bills")
	client := newTestClient(t, core.Config{URL: server.URL(), Outbox: memory.New()})
	const callers, each = 1000, 3
	var stored atomic.Int32
	concurrently(callers, func(i int) (core.Receipt, error) {
		for n := range each {
			topic := []string{"orders", "bills"}[(i+n)%2]
			receipt, err := client.Publish(t.Context(), topic, map[string]int{"n": i*each + n})
			assert.NoError(t, err)
			if receipt.State == core.Stored {
				stored.Add(1)
			}
		}
		return core.Receipt{}, nil
	})
	seen := map[string]int{}
	for _, payload := range append(payloadsOf(server, "orders"), payloadsOf(server, "bills")...) {
		seen[payload]++
	}
	assert.GreaterOrEqual(t, len(seen)+int(stored.Load()), callers*each, "delivered or stored")
}

func TestPostsInProgressAreSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(10 * time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{PostsPerTopic: 7})
		concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) })
		bulk, single := server.bulks()
		assert.Equal(t, []int{1, 7}, []int{bulk, single})
	})
}

// A server that needs most of the timeout for each request leaves no time to wait.
func TestCallsDoNotWaitForASlowServer(t *testing.T) {
	for name, option := range map[string]func(i int) []core.PublishOption{
		"shared": func(int) []core.PublishOption { return nil },
		"ids":    func(int) []core.PublishOption { return []core.PublishOption{core.WithMessageID()} },
	} {
		for _, latency := range []time.Duration{300 * time.Millisecond, 400 * time.Millisecond, 450 * time.Millisecond, 490 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s/%v", name, latency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := memory.New()
					server := &bubbleServer{judge: after(latency)}
					client, changes := bubbleClient(t, server, core.Config{Outbox: store})
					var stored [6]int
					for round := range 6 {
						for _, r := range concurrently(64, func(i int) (core.Receipt, error) {
							return client.Publish(t.Context(), "orders", good(i), option(i)...)
						}) {
							require.NoError(t, r.err)
							if r.receipt.State != core.Delivered {
								stored[round]++
							}
						}
					}
					assert.Equal(t, [3]int{}, [3]int(stored[3:]), "stored in each round: %v", stored)
					assert.Empty(t, changes.all())
				})
			})
		}
	}
}

// Calls stop sharing requests of a topic if the server, or a proxy, takes its
// messages only one by one or a few at a time.
func TestServersWithoutBulks(t *testing.T) {
	for name, judge := range map[string]func(post) int{
		"404": func(post) int { return http.StatusNotFound },
		"413": func(post) int { return http.StatusRequestEntityTooLarge },
		"502": func(post) int { return http.StatusBadGateway },
		"500 above 4": func(p post) int {
			if len(p.payloads) <= 4 {
				return http.StatusCreated
			}
			return http.StatusInternalServerError
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &bubbleServer{judge: func(p post) verdict {
					v := verdict{status: http.StatusCreated, after: 10 * time.Millisecond}
					if strings.Contains(p.path, "bulk") && len(p.payloads) > 0 {
						v.status = judge(p)
					}
					return v
				}}
				client, changes := bubbleClient(t, server, core.Config{Outbox: memory.New()})
				for round := range 5 {
					for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
						require.NoError(t, r.err)
						if round > 0 {
							assert.Equal(t, core.Delivered, r.receipt.State)
							assert.LessOrEqual(t, r.took, 20*time.Millisecond)
						}
					}
				}
				assert.Empty(t, changes.all())
			})
		})
	}
}

// An origin that cannot be compared is left out, and harms nobody.
func TestOriginThatCannotBeCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: after(time.Millisecond)}
		client, _ := bubbleClient(t, server, core.Config{Observer: core.Observer{
			Origin: func(context.Context) any { return []int{1} },
		}})
		for _, r := range concurrently(20, func(i int) (core.Receipt, error) { return client.Publish(t.Context(), "orders", good(i)) }) {
			require.NoError(t, r.err)
			require.Nil(t, r.panic)
		}
	})
}
