package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
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

// durable are the options of a middleware whose messages are stored before the
// response, in an outbox that can fail.
func durable() core.Options {
	return core.Options{AfterResponse: core.Durable, FlushOn: core.Committed}
}

// twoOrders publishes what an outbox that fails makes fail.
func twoOrders(t *testing.T, r *http.Request) {
	t.Helper()
	receipt, err := core.MustFromContext(r.Context()).PublishBulk(r.Context(), "orders", []any{struct{}{}, struct{}{}})
	assert.NoError(t, err)
	assert.Equal(t, core.Held, receipt.State)
}

// withoutOutbox makes a client whose outbox fails.
func withoutOutbox(t *testing.T, config core.Config) *core.Client {
	t.Helper()
	store := &insertCounter{Store: memory.New()}
	store.fail(errBrokenStore)
	config.Outbox = store
	return newTestClient(t, config)
}

func TestNotAcceptedReplacesTheResponse(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		for name, starts := range map[string]bool{"WhileTheHandlerRuns": true, "WhenItHasReturned": false} {
			recorder := httptest.NewRecorder()
			recorder.Header()["X-Earlier"] = []string{"1", "2"}
			require.NoError(t, client.Serve(recorder, nil, durable(), func(w http.ResponseWriter, r *http.Request) error {
				twoOrders(t, r)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "2")
				w.Header().Add("X-Earlier", "3")
				w.Header()["X-Earlier"][0] = "changed"
				if starts {
					response := w.(*core.Response)
					assert.False(t, response.Start(http.StatusCreated))
					assert.False(t, response.Start(http.StatusOK), "the rest is discarded, too")
					assert.False(t, response.Start(http.StatusEarlyHints))
				}
				return nil
			}), name)
			assert.Equal(t, http.StatusServiceUnavailable, recorder.Code, name)
			assert.Equal(t, http.Header{
				"Retry-After": {"1"}, "X-Earlier": {"1", "2"},
				"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
			}, recorder.Header(), name)
			assert.Equal(t, "Service Unavailable\n", recorder.Body.String(), name)
		}
		assert.Empty(t, server.Messages())
		isEmpty(t, client)
	})
}

func TestOptionsNotAccepted(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		answer := func(write func(http.ResponseWriter)) *httptest.ResponseRecorder {
			recorder := httptest.NewRecorder()
			request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", nil)
			options := durable()
			options.NotAccepted = func(w http.ResponseWriter, r *http.Request, err error) {
				assert.Equal(t, "/orders", r.URL.Path)
				assert.ErrorIs(t, err, core.ErrNotAccepted)
				assert.ErrorIs(t, err, errBrokenStore)
				assert.Empty(t, w.Header(), "nothing of the handler's")
				write(w)
			}
			require.NoError(t, client.Serve(recorder, request, options, func(w http.ResponseWriter, r *http.Request) error {
				twoOrders(t, r)
				w.Header().Set("X-Of", "handler")
				return nil
			}))
			return recorder
		}
		own := answer(func(w http.ResponseWriter) {
			w.Header().Set("X-Own", "1")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte("later"))
		})
		assert.Equal(t, http.StatusConflict, own.Code)
		assert.Equal(t, http.Header{"X-Own": {"1"}}, own.Header())
		assert.Equal(t, "later", own.Body.String())
		assert.Equal(t, "text", answer(func(w http.ResponseWriter) { _, _ = w.Write([]byte("text")) }).Body.String())
		nothing := answer(func(http.ResponseWriter) {})
		assert.Equal(t, http.StatusServiceUnavailable, nothing.Code)
		assert.Equal(t, "1", nothing.Header().Get("Retry-After"))
		assert.PanicsWithValue(t, "in NotAccepted", func() { answer(func(http.ResponseWriter) { panic("in NotAccepted") }) })
		isEmpty(t, client)
	})
}

// TestHeaderAfterTheReplacement has a handler that continues after its response
// was replaced.
func TestHeaderAfterTheReplacement(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		options := durable()
		options.NotAccepted = func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.WriteHeader(http.StatusBadGateway)
			w.Header().Set(http.TrailerPrefix+"X-Own", "1")
		}
		recorder := httptest.NewRecorder()
		require.NoError(t, client.Serve(recorder, nil, options, func(w http.ResponseWriter, r *http.Request) error {
			twoOrders(t, r)
			assert.False(t, w.(*core.Response).Start(http.StatusOK))
			w.Header().Set("Content-Length", "7")
			w.Header().Set(http.TrailerPrefix+"X-Of", "handler")
			return nil
		}))
		assert.Equal(t, http.Header{http.TrailerPrefix + "X-Own": {"1"}}, recorder.Header())
	})
}

// TestNotAcceptedUsesTheWriterOfTheHandler does not wait for itself.
func TestNotAcceptedUsesTheWriterOfTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		options := durable()
		var response *core.Response
		options.NotAccepted = func(http.ResponseWriter, *http.Request, error) {
			assert.False(t, response.Start(http.StatusBadGateway))
		}
		recorder := httptest.NewRecorder()
		require.NoError(t, client.Serve(recorder, nil, options, func(w http.ResponseWriter, r *http.Request) error {
			response = w.(*core.Response)
			twoOrders(t, r)
			return nil
		}))
		assert.Equal(t, http.StatusServiceUnavailable, recorder.Code)
	})
}

// TestPanicOfNotAcceptedIsNoSuccess has a handler that recovers from the panic.
func TestPanicOfNotAcceptedIsNoSuccess(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		options := durable()
		options.NotAccepted = func(http.ResponseWriter, *http.Request, error) { panic("in NotAccepted") }
		recorder := httptest.NewRecorder()
		require.NoError(t, client.Serve(recorder, nil, options, func(w http.ResponseWriter, r *http.Request) error {
			twoOrders(t, r)
			assert.PanicsWithValue(t, "in NotAccepted", func() { w.(*core.Response).Start(http.StatusCreated) })
			assert.False(t, w.(*core.Response).Start(http.StatusInternalServerError))
			return nil
		}))
		assert.Equal(t, http.StatusServiceUnavailable, recorder.Code)
		assert.Equal(t, "1", recorder.Header().Get("Retry-After"))
	})
}

// TestResponseWithoutMessages asks nothing.
func TestResponseWithoutMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := withoutOutbox(t, config)
		options := core.Options{AfterResponse: core.Durable, FlushOn: func(core.Outcome) bool { panic("asked") }}
		recorder := httptest.NewRecorder()
		require.NoError(t, client.Serve(recorder, nil, options, func(w http.ResponseWriter, _ *http.Request) error {
			assert.True(t, w.(*core.Response).Start(http.StatusCreated))
			return nil
		}))
		assert.Empty(t, recorder.Body.String())
	})
}

// TestMessagesAfterTheFirstByte are accepted one by one.
func TestMessagesAfterTheFirstByte(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox = memory.New()
		client := newTestClient(t, config)
		require.NoError(t, client.Serve(httptest.NewRecorder(), nil, core.Options{FlushOn: core.Committed}, func(w http.ResponseWriter, r *http.Request) error {
			p := core.MustFromContext(r.Context())
			queueN(t, p, 2, core.Held)
			assert.Empty(t, server.Messages())
			assert.True(t, w.(*core.Response).Start(http.StatusOK))
			assert.Len(t, server.Messages(), 2, "before the first byte")
			queueN(t, p, 1, core.Delivered)
			return nil
		}))
		assert.Len(t, server.Messages(), 3)
	})
}

// TestErrorThatNobodyAnswers discards the messages after the end of the
// request. Stop does not wait for that.
func TestErrorThatNobodyAnswers(t *testing.T) {
	broken := errors.New("broken")
	serve := func(t *testing.T, client *core.Client, ctx context.Context) (response *core.Response) {
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		assert.ErrorIs(t, client.Serve(httptest.NewRecorder(), request, core.Options{FlushOn: core.Succeeded}, func(w http.ResponseWriter, r *http.Request) error {
			response = w.(*core.Response)
			twoOrders(t, r)
			return broken
		}), broken)
		return response
	}
	setUp := func(t *testing.T, config core.Config) (*core.Client, *events) {
		seen := &events{}
		config.Outbox, config.Observer = memory.New(), seen.observer()
		return newTestClient(t, config), seen
	}
	t.Run("EndOfTheRequest", func(t *testing.T) {
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			client, seen := setUp(t, config)
			ctx, cancel := context.WithCancel(t.Context())
			response := serve(t, client, ctx)
			cancel() // net/http does so when the handlers have returned
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Len(t, seen.of("discarded"), 1)
			assert.False(t, response.Start(http.StatusOK), "the messages are lost")
			assert.Empty(t, server.Messages())
			isEmpty(t, client)
		})
	})
	t.Run("ClientHangsUp", func(t *testing.T) {
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			client, seen := setUp(t, config)
			ctx, cancel := context.WithCancel(t.Context())
			response := serve(t, client, ctx)
			cancel()
			synctest.Wait()
			assert.True(t, response.Start(http.StatusNotFound))
			assert.Len(t, server.Messages(), 2)
			time.Sleep(time.Minute)
			assert.Empty(t, seen.of("discarded"))
			isEmpty(t, client)
		})
	})
	t.Run("Stop", func(t *testing.T) {
		inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
			client, seen := setUp(t, config)
			response := serve(t, client, t.Context())
			require.NoError(t, client.Stop(t.Context()))
			assert.Len(t, seen.of("discarded"), 1)
			assert.False(t, response.Start(http.StatusNotFound), "the messages are lost")
			assert.Empty(t, server.Messages())
			isEmpty(t, client)
		})
	})
}

// TestErrorLeavesNothingOfTheRequest has handlers that return an error and hold
// no messages when the request ends.
func TestErrorLeavesNothingOfTheRequest(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	for _, publishes := range []bool{false, true} {
		var freed atomic.Bool
		func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel() // net/http does so when the handlers have returned
			type key struct{}
			value := new([100]byte) // of the request and its context
			request := httptest.NewRequestWithContext(context.WithValue(ctx, key{}, value), http.MethodPost, "/", nil)
			runtime.AddCleanup(value, func(freed *atomic.Bool) { freed.Store(true) }, &freed)
			var response *core.Response
			options := core.Options{AfterResponse: core.Memory, FlushOn: core.Committed}
			require.ErrorIs(t, client.Serve(httptest.NewRecorder(), request, options, func(w http.ResponseWriter, r *http.Request) error {
				response = w.(*core.Response)
				if publishes {
					twoOrders(t, r)
				}
				return errBrokenStore
			}), errBrokenStore)
			assert.True(t, response.Start(http.StatusInternalServerError))
		}()
		for range 200 {
			if runtime.GC(); freed.Load() {
				break
			}
		}
		assert.True(t, freed.Load(), publishes)
	}
}

// TestResponseAfterTheDeadline begins nothing: somebody else has answered 503
// then, such as http.TimeoutHandler.
func TestResponseAfterTheDeadline(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
		recorder := httptest.NewRecorder()
		require.NoError(t, client.Serve(recorder, request, core.Options{AfterResponse: mode, FlushOn: core.Committed}, func(w http.ResponseWriter, r *http.Request) error {
			twoOrders(t, r)
			time.Sleep(2 * time.Second)
			assert.False(t, w.(*core.Response).Start(http.StatusOK))
			_, err := core.MustFromContext(r.Context()).Publish(context.WithoutCancel(r.Context()), "orders", struct{}{})
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			return nil
		}))
		assert.Equal(t, http.StatusServiceUnavailable, recorder.Code)
		require.NoError(t, client.Flush(t.Context()))
		assert.Empty(t, server.Messages())
		assert.Empty(t, store.commits())
		isEmpty(t, client)
	})
}
