package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// observed notes the events of an observer.
type observed struct{ calls }

func (o *observed) observer() delivery.Observer {
	event := func(name string) func(delivery.Event) {
		return func(e delivery.Event) {
			text := name + " " + e.Topic
			if e.Name != "" {
				text += " as " + e.Name
			}
			if e.Attempts > 0 {
				text += fmt.Sprintf(" attempt %d", e.Attempts)
			}
			if e.Duration > 0 {
				text += fmt.Sprintf(" took %v", e.Duration)
			}
			if e.Age > 0 {
				text += fmt.Sprintf(" age %v", e.Age)
			}
			if e.Kind != 0 {
				text += ": " + e.Kind.String()
			}
			if e.TimedOut {
				text += " in time"
			}
			if (e.Err == nil) != (e.Kind == 0) && name != "dead" {
				text += " BUT error " + fmt.Sprint(e.Err)
			}
			o.add("%s", text)
		}
	}
	return delivery.Observer{
		Stored: event("stored"), Duplicate: event("duplicate"), Skipped: event("skipped"), Busy: event("busy"),
		Refused: event("refused"), Handled: event("handled"), Dead: event("dead"),
		Handle: func(ctx context.Context, call delivery.HandleCall) (context.Context, func(error)) {
			o.add("begin %s %s %v", call.Topic, call.ID, call.Attributes)
			return ctx, func(err error) { o.add("end %v, context %v", err, ctx.Err()) }
		},
	}
}

// Each request is one event, and each call of the function has a begin and an end.
func TestObserverOfAHandler(t *testing.T) {
	const began = "begin orders 7 map[region:north]"
	failing := func(err error) func(context.Context, delivery.Message[order]) error {
		return func(context.Context, delivery.Message[order]) error { return err }
	}
	for name, c := range map[string]struct {
		handle  func(context.Context, delivery.Message[order]) error
		options []delivery.Option
		body    string
		status  int
		want    []string
	}{
		"handled":   {handle: failing(nil), status: 204, want: []string{began, "end <nil>, context <nil>", "handled orders"}},
		"failed":    {handle: failing(errors.New("no stock")), status: 500, want: []string{began, "end no stock, context <nil>", "handled orders: message not handled"}},
		"discarded": {handle: failing(delivery.Discard(errors.New("old"))), status: 204, want: []string{began, "end discarded: old, context <nil>", "handled orders: message discarded"}},
		"panicked": {
			handle: func(context.Context, delivery.Message[order]) error { panic("oh") }, status: 500,
			want: []string{began, "end panic: oh, context <nil>", "handled orders: handling a message has panicked"},
		},
		"timed out": {
			handle: func(ctx context.Context, _ delivery.Message[order]) error {
				<-ctx.Done()
				return errors.New("late")
			},
			options: []delivery.Option{delivery.WithTimeout(time.Second)}, status: 500,
			want: []string{began, "end late, context context deadline exceeded", "handled orders took 1s: message not handled in time"},
		},
		"late but handled": {
			handle: func(ctx context.Context, _ delivery.Message[order]) error {
				<-ctx.Done()
				return nil
			},
			options: []delivery.Option{delivery.WithTimeout(time.Second)}, status: 204,
			want: []string{began, "end <nil>, context context deadline exceeded", "handled orders took 1s"},
		},
		"undecodable":         {handle: failing(nil), body: `{"id":"x"}`, status: 400, want: []string{"refused orders: message cannot be decoded"}},
		"without credentials": {handle: failing(nil), options: []delivery.Option{delivery.WithCredentials("a", "b")}, status: 401, want: []string{"refused orders: delivery refused"}},
		"context panics": {
			handle: failing(nil), status: 500, want: []string{"refused orders: handling a message has panicked"},
			options: []delivery.Option{delivery.WithContext(func(context.Context, map[string]string) context.Context { panic("oh") })},
		},
		"latest panics": {
			handle: failing(nil), status: 500, want: []string{"refused orders: handling a message has panicked"},
			options: []delivery.Option{
				delivery.WithDeduplication(newMemory(t, 10)),
				delivery.WithLatest(func(delivery.Message[order]) string { panic("oh") }, func(delivery.Message[order]) int64 { return 0 }),
			},
		},
		"deduplicator fails": {
			handle: failing(nil), options: []delivery.Option{delivery.WithDeduplication(broken{})}, status: 503,
			want: []string{"refused orders: deduplication failed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen observed
				handler := delivery.Handler(c.handle, append(c.options, quiet(), delivery.WithTopic("orders"), delivery.WithObserver(seen.observer()))...)
				body := c.body
				if body == "" {
					body = message
				}
				assert.Equal(t, c.status, giveBody(t, handler, 7, body))
				assert.Equal(t, c.want, seen.take())
			})
		})
	}
}

// broken is a deduplicator that cannot be used.
type broken struct{ delivery.Deduplicator }

func (broken) Begin(context.Context, string, time.Duration) (delivery.State, string, error) {
	return 0, "", errors.New("down")
}

// A function that aborts the connection ends its span.
func TestObserverOfAnAbortedRequest(t *testing.T) {
	var seen observed
	handler := delivery.Handler(func(context.Context, delivery.Message[order]) error { panic(http.ErrAbortHandler) },
		quiet(), delivery.WithTopic("orders"), delivery.WithObserver(seen.observer()))
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { giveBody(t, handler, 7, message) })
	list := seen.take()
	require.Len(t, list, 3)
	assert.Equal(t, "end the function has aborted the request, context <nil>", list[1])
	assert.Contains(t, list[2], "message not handled")
}

func TestObserverOfCopies(t *testing.T) {
	for name, c := range map[string]struct {
		options []delivery.Option
		again   string
	}{
		"by id": {again: "duplicate orders"},
		"latest": {again: "skipped orders", options: []delivery.Option{delivery.WithLatest(
			func(m delivery.Message[order]) string { return "key" }, func(m delivery.Message[order]) int64 { return int64(m.Payload.ID) },
		)}},
	} {
		t.Run(name, func(t *testing.T) {
			var seen observed
			begun, end := make(chan struct{}), make(chan struct{})
			handler := delivery.Handler(func(context.Context, delivery.Message[order]) error {
				close(begun)
				<-end
				return nil
			}, append(c.options, quiet(), delivery.WithTopic("orders"), delivery.WithDeduplication(newMemory(t, 10)), delivery.WithObserver(seen.observer()))...)
			first := make(chan int)
			go func() {
				r := httptest.NewRequest(http.MethodPost, "/consume", strings.NewReader(message))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("message-id", "7")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				first <- w.Code
			}()
			await(t, begun, "the function")
			assert.Equal(t, http.StatusConflict, giveBody(t, handler, 7, message))
			close(end)
			assert.Equal(t, http.StatusNoContent, <-first)
			assert.Equal(t, http.StatusNoContent, giveBody(t, handler, 7, message))
			list := seen.take()
			require.Len(t, list, 5)
			assert.Equal(t, "busy orders", list[1])
			assert.Equal(t, c.again, list[4])
		})
	}
}

// An inbox reports requests and calls, with age and attempts.
func TestObserverOfAnInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen observed
		inbox := newInbox(t, memory.New(), delivery.InboxOptions{
			MaxAttempts: 2, MinBackoff: time.Second, Timeout: time.Second, Observer: seen.observer(),
		})
		handler := queued(inbox, "orders", func(ctx context.Context, _ delivery.Message[order]) error {
			<-ctx.Done()
			return ctx.Err()
		}, delivery.WithName("billing"))
		assert.Equal(t, http.StatusServiceUnavailable, give(t, handler, 7))
		assert.Equal(t, []string{"refused orders as billing: message not stored"}, seen.take())
		require.NoError(t, inbox.Start(t.Context()))
		assert.Equal(t, http.StatusBadRequest, giveBody(t, handler, 7, `{"id":"x"}`))
		assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
		synctest.Wait() // until a worker has begun
		assert.Equal(t, http.StatusNoContent, give(t, handler, 7))
		assert.ElementsMatch(t, []string{
			"refused orders as billing: message cannot be decoded", "stored orders as billing",
			"begin orders 7 map[region:north]", "duplicate orders as billing",
		}, seen.take())
		time.Sleep(time.Minute)
		list := seen.take()
		require.Len(t, list, 6)
		assert.Equal(t, "handled orders as billing attempt 1 took 1s: message not handled in time", list[1])
		assert.Regexp(t, `^handled orders as billing attempt 2 took 1s age [\d.]+s: message not handled in time$`, list[4])
		assert.Equal(t, "dead orders as billing", list[5])
	})
}

func TestObserverOfAnInboxIsAnOption(t *testing.T) {
	inbox := newInbox(t, memory.New(), delivery.InboxOptions{})
	_, err := delivery.NewQueued(inbox, func(context.Context, delivery.Message[order]) error { return nil },
		delivery.WithTopic("orders"), delivery.WithObserver(delivery.Observer{}))
	require.EqualError(t, err, "delivery: WithObserver: set InboxOptions.Observer")
}

// What panics, or is nil, has no effect.
func TestObserverPanics(t *testing.T) {
	panics := func(delivery.Event) { panic("observer") }
	for _, observer := range []delivery.Observer{
		{},
		{Handled: panics, Handle: func(context.Context, delivery.HandleCall) (context.Context, func(error)) { panic("observer") }},
		{Handle: func(context.Context, delivery.HandleCall) (context.Context, func(error)) { return nil, nil }},
		{Handle: func(ctx context.Context, _ delivery.HandleCall) (context.Context, func(error)) {
			return ctx, func(error) { panic("observer") }
		}},
	} {
		handled := false
		handler := delivery.Handler(func(ctx context.Context, _ delivery.Message[order]) error {
			handled = ctx != nil
			return nil
		}, quiet(), delivery.WithObserver(observer))
		assert.Equal(t, http.StatusNoContent, giveBody(t, handler, 7, message))
		assert.True(t, handled)
	}
}

func TestJoinObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a, b observed
		first, second := a.observer(), b.observer()
		var nesting calls
		nested := func(name string) delivery.Observer {
			return delivery.Observer{Handle: func(ctx context.Context, _ delivery.HandleCall) (context.Context, func(error)) {
				nesting.add("begin %s", name)
				return nil, func(error) { nesting.add("end %s", name) }
			}}
		}
		handler := delivery.Handler(func(context.Context, delivery.Message[order]) error { return nil }, quiet(), delivery.WithTopic("orders"),
			delivery.WithObserver(delivery.JoinObservers(first, delivery.Observer{}, second, nested("x"), nested("y"))))
		assert.Equal(t, http.StatusNoContent, giveBody(t, handler, 7, message))
		list := a.take()
		assert.Equal(t, []string{"begin orders 7 map[region:north]", "end <nil>, context <nil>", "handled orders"}, list)
		assert.Equal(t, list, b.take())
		assert.Equal(t, []string{"begin x", "begin y", "end y", "end x"}, nesting.take())
	})
}

func TestKindOf(t *testing.T) {
	failed := errors.New("no stock")
	for want, err := range map[delivery.Kind]error{
		0:                  nil,
		delivery.Failed:    failed,
		delivery.Discarded: fmt.Errorf("wrapped: %w", delivery.Discard(failed)),
		delivery.Panicked:  &delivery.PanicError{Value: delivery.Discard(failed)},
	} {
		assert.Equal(t, want, delivery.KindOf(err))
	}
}
