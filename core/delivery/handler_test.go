package delivery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
)

var errBroken = errors.New("broken secret")

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		handle func() error
		status int
		kind   delivery.Kind // zero for nothing to report
		err    error
	}{
		"Nil":            {func() error { return nil }, 204, 0, nil},
		"Error":          {func() error { return errBroken }, 500, delivery.Failed, errBroken},
		"Discard":        {func() error { return delivery.Discard(errBroken) }, 204, delivery.Discarded, errBroken},
		"DiscardWrapped": {func() error { return fmt.Errorf("order: %w", delivery.Discard(errBroken)) }, 204, delivery.Discarded, errBroken},
		"DiscardNil":     {func() error { return delivery.Discard(nil) }, 204, 0, nil},
		"Panic":          {func() error { panic(errBroken) }, 500, delivery.Panicked, errBroken},
		"PanicDiscard":   {func() error { panic(delivery.Discard(errBroken)) }, 500, delivery.Panicked, errBroken},
		"PanicSlice":     {func() error { panic([]int{1}) }, 500, delivery.Panicked, nil},
		"PanicNil":       {func() error { panic(nil) }, 500, delivery.Panicked, nil},
		"PanicRuntime":   {func() error { _ = []int{}[runtime.NumCPU()]; return nil }, 500, delivery.Panicked, nil},
	} {
		t.Run(name, func(t *testing.T) {
			url, reported := consumer(t, func(context.Context, delivery.Message[order]) error { return test.handle() }, delivery.WithTopic("orders"))
			got := post(t, url, message)
			assert.Equal(t, test.status, got.status)
			assert.NotContains(t, got.body, "secret")
			list := reported.take()
			if test.kind == 0 {
				assert.Empty(t, list)
				return
			}
			require.Len(t, list, 1)
			problem := list[0]
			if test.err != nil {
				require.ErrorIs(t, problem.Err, test.err)
			}
			panicked, ok := errors.AsType[*delivery.PanicError](problem.Err)
			require.Equal(t, test.kind == delivery.Panicked, ok)
			if ok {
				assert.Contains(t, string(panicked.Stack), "handler_test.go")
			}
			assert.Equal(t, delivery.Problem{
				Kind: test.kind, Topic: "orders", ID: "9114", Path: "/consume/orders", Status: test.status, Err: problem.Err,
			}, problem)
		})
	}
}

func TestAbortHandler(t *testing.T) {
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error { panic(http.ErrAbortHandler) })
	_, err := try(t.Context(), url, message)
	require.Error(t, err)
	assert.Empty(t, reported.take())
}

type explosive struct{}

func (*explosive) UnmarshalJSON([]byte) error { panic("on purpose") }

func TestPanicOfAType(t *testing.T) {
	var reported problems
	url := serve(t, delivery.Handler(func(context.Context, delivery.Message[explosive]) error { return nil },
		quiet(), delivery.WithOnError(reported.add)))
	assert.Equal(t, 500, post(t, url, message).status)
	list := reported.take()
	require.Len(t, list, 1)
	assert.Equal(t, delivery.Panicked, list[0].Kind)
}

func TestRefused(t *testing.T) {
	called := false
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error {
		called = true
		return nil
	})
	for name, header := range map[string][]string{
		"text":    {"Content-Type", "text/plain"},
		"none":    {"Content-Type", ""},
		"form":    {"Content-Type", "application/x-www-form-urlencoded"},
		"broken":  {"Content-Type", "application/json; charset"},
		"jsonish": {"Content-Type", "application/jsonp"},
		"other":   {"Content-Type", "application/xjson"},
		"gzip":    {"Content-Encoding", "gzip"},
	} {
		assert.Equal(t, 415, post(t, url, message, header...).status, name)
		list := reported.take()
		require.Len(t, list, 1)
		assert.Equal(t, delivery.Refused, list[0].Kind)
		assert.Equal(t, 415, list[0].Status)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"} {
		got, err := send(t.Context(), method, url, nil)
		require.NoError(t, err)
		assert.Equal(t, 405, got.status, method)
		assert.Equal(t, "POST", got.header.Get("Allow"), method)
		require.Len(t, reported.take(), 1)
	}
	require.False(t, called)
	for _, contentType := range []string{"application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"} {
		assert.Equal(t, 204, post(t, url, message, "Content-Type", contentType, "Content-Encoding", "identity").status, contentType)
	}
	assert.Empty(t, reported.take())
}

func TestCredentials(t *testing.T) {
	target := core.Consumer{Topic: "orders", Target: "http://us%40er:p%3Ass%2Fw%25rd@billing:8080/consume/orders"}
	for name, option := range map[string]delivery.Option{
		"WithCredentials": delivery.WithCredentials("us@er", "p:ss/w%rd"),
		"WithConsumer":    delivery.WithConsumer(target),
	} {
		t.Run(name, func(t *testing.T) {
			called := 0
			url, reported := consumer(t, func(context.Context, delivery.Message[order]) error {
				called++
				return nil
			}, option)
			basic := func(user, password string) string {
				r := httptest.NewRequest("POST", "/", nil)
				r.SetBasicAuth(user, password)
				return r.Header.Get("Authorization")
			}
			for _, wrong := range []string{
				"", basic("us@er", ""), basic("us@er", "p:ss/w%r"), basic("us@er", "p:ss/w%rd "), basic("", "p:ss/w%rd"),
				basic("US@ER", "p:ss/w%rd"), "Bearer x", "Basic !", "Basic",
			} {
				for _, method := range []string{"POST", "GET"} {
					got, err := send(t.Context(), method, url, strings.NewReader(message), "Authorization", wrong)
					require.NoError(t, err)
					assert.Equal(t, 401, got.status, wrong)
					assert.Contains(t, got.header.Get("WWW-Authenticate"), "Basic realm=")
				}
			}
			require.Zero(t, called)
			list := reported.take()
			require.Len(t, list, 18)
			assert.NotContains(t, list[2].Err.Error(), "w%r")
			assert.Equal(t, 204, post(t, url, message, "Authorization", basic("us@er", "p:ss/w%rd")).status)
			assert.Equal(t, 1, called)
		})
	}
}

func TestWithConsumer(t *testing.T) {
	m := received[order](t, message, delivery.WithConsumer(core.Consumer{Topic: "orders", Target: "http://billing/consume"}))
	assert.Equal(t, "orders", m.Topic)
	remaining := make(chan time.Duration, 1)
	url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
		deadline, _ := ctx.Deadline()
		remaining <- time.Until(deadline)
		return nil
	}, delivery.WithConsumer(core.Consumer{Topic: "orders", Target: "http://billing/consume", Timeout: time.Hour}))
	require.Equal(t, 204, post(t, url, message).status)
	assert.InDelta(t, time.Hour, <-remaining, float64(time.Minute))

	// What it does not say is left to the other options. A shorter timeout counts,
	// wherever it stands.
	url, _ = consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
		deadline, _ := ctx.Deadline()
		remaining <- time.Until(deadline)
		return nil
	}, delivery.WithTimeout(time.Hour), delivery.WithCredentials("user", "secret"),
		delivery.WithConsumer(core.Consumer{Topic: "orders", Target: "http://billing/consume", Timeout: 2 * time.Hour}))
	require.Equal(t, 401, post(t, url, message).status)
	require.Equal(t, 204, post(t, url, message, "Authorization", "Basic dXNlcjpzZWNyZXQ=").status)
	assert.InDelta(t, time.Hour, <-remaining, float64(time.Minute))
}

// TestTimeoutBeyondTheServer refuses a function that may take longer than the
// server waits.
func TestTimeoutBeyondTheServer(t *testing.T) {
	consumer := func(timeout time.Duration) delivery.Option {
		return delivery.WithConsumer(core.Consumer{Topic: "orders", Target: "http://billing/consume", Timeout: timeout})
	}
	handle := func(context.Context, delivery.Message[order]) error { return nil }
	for name, test := range map[string]struct {
		options []delivery.Option
		want    string
	}{
		"less":          {[]delivery.Option{consumer(30 * time.Second), delivery.WithTimeout(29 * time.Second)}, ""},
		"the same":      {[]delivery.Option{consumer(30 * time.Second), delivery.WithTimeout(30 * time.Second)}, ""},
		"more":          {[]delivery.Option{consumer(30 * time.Second), delivery.WithTimeout(31 * time.Second)}, "31s is more than 30s"},
		"more, first":   {[]delivery.Option{delivery.WithTimeout(31 * time.Second), consumer(30 * time.Second)}, "31s is more than 30s"},
		"the default":   {[]delivery.Option{consumer(0), delivery.WithTimeout(5 * time.Second)}, ""},
		"beyond it":     {[]delivery.Option{consumer(0), delivery.WithTimeout(6 * time.Second)}, "6s is more than 5s"},
		"no consumer":   {[]delivery.Option{delivery.WithTimeout(time.Hour)}, ""},
		"consumer only": {[]delivery.Option{consumer(time.Hour)}, ""},
	} {
		_, err := delivery.New(handle, test.options...)
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, "delivery: WithTimeout: "+test.want, name)
		require.ErrorContains(t, err, `"orders"`)
		require.ErrorContains(t, err, "core.Consumer.Timeout")
	}
}

func TestSize(t *testing.T) {
	var got int
	handler := func(options ...delivery.Option) (string, *problems) {
		var reported problems
		options = append(options, quiet(), delivery.WithOnError(reported.add))
		return serve(t, delivery.Handler(func(_ context.Context, m delivery.Message[json.RawMessage]) error {
			got = len(m.Payload)
			return nil
		}, options...)), &reported
	}
	body := func(size int) string { return `{"a":"` + strings.Repeat("x", size-8) + `"}` }
	for name, chunked := range map[string]bool{"Length": false, "Chunked": true} {
		t.Run(name, func(t *testing.T) {
			send := func(url string, size int) int {
				var content io.Reader = strings.NewReader(body(size))
				if chunked {
					content = struct{ io.Reader }{content}
				}
				answer, err := send(t.Context(), "POST", url, content)
				require.NoError(t, err)
				return answer.status
			}
			url, reported := handler()
			for _, size := range []int{8, 8_065_536, delivery.DefaultMaxBytes} {
				require.Equal(t, 204, send(url, size))
				assert.Equal(t, size, got)
			}
			for _, size := range []int{delivery.DefaultMaxBytes + 1, 10_000_000} {
				require.Equal(t, 413, send(url, size))
				list := reported.take()
				require.Len(t, list, 1)
				require.ErrorContains(t, list[0].Err, "9000000")
			}
			url, _ = handler(delivery.WithMaxBytes(10))
			assert.Equal(t, 204, send(url, 10))
			assert.Equal(t, 413, send(url, 11))
		})
	}
}

// TestHalfABody has a request end before its body does.
func TestHalfABody(t *testing.T) {
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error {
		t.Error("the function was called")
		return nil
	})
	body, write := io.Pipe()
	go func() {
		_, _ = io.WriteString(write, message)
		_ = write.CloseWithError(errBroken)
	}()
	_, err := send(t.Context(), "POST", url, body)
	require.ErrorIs(t, err, errBroken)
	require.Eventually(t, func() bool {
		list := reported.take()
		return len(list) == 1 && list[0].Kind == delivery.Refused && list[0].Status == 400
	}, patience, time.Millisecond)
}

type contextKey struct{}

func TestWithContext(t *testing.T) {
	trace := func(ctx context.Context, attributes map[string]string) context.Context {
		switch attributes["traceparent"] {
		case "panic":
			panic("on purpose")
		case "nil":
			return nil
		}
		return context.WithValue(ctx, contextKey{}, attributes["traceparent"])
	}
	seen := make(chan any, 2)
	reported := func(ctx context.Context, _ delivery.Problem) { seen <- ctx.Value(contextKey{}) }
	url := serve(t, delivery.Handler(func(ctx context.Context, _ delivery.Message[order]) error {
		seen <- ctx.Value(contextKey{})
		return errBroken
	}, quiet(), delivery.WithContext(trace), delivery.WithOnError(reported)))
	require.Equal(t, 500, post(t, url, `{"attributes":{"traceparent":"00-1-2-01"}}`).status)
	assert.Equal(t, "00-1-2-01", <-seen)
	assert.Equal(t, "00-1-2-01", <-seen, "what is reported has the context, too")
	for _, bad := range []string{"panic", "nil"} {
		require.Equal(t, 500, post(t, url, `{"attributes":{"traceparent":"`+bad+`"}}`).status)
		assert.Nil(t, <-seen)
		assert.Empty(t, seen)
	}
}

// TestHangUp has the server hang up: the context ends.
func TestHangUp(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
		close(begun)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	})
	ctx, hangUp := context.WithCancel(t.Context())
	go func() {
		<-begun
		hangUp()
	}()
	_, err := try(ctx, url, message)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case err := <-ended:
		assert.ErrorIs(t, err, context.Canceled)
	case <-time.After(patience):
		t.Fatal("the context did not end")
	}
}

func TestWithTimeout(t *testing.T) {
	url, reported := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
		<-ctx.Done()
		return ctx.Err()
	}, delivery.WithTimeout(20*time.Millisecond))
	assert.Equal(t, 500, post(t, url, message).status)
	list := reported.take()
	require.Len(t, list, 1)
	assert.ErrorIs(t, list[0].Err, context.DeadlineExceeded)
}

func TestInvalidOptions(t *testing.T) {
	handle := func(context.Context, delivery.Message[order]) error { return nil }
	for says, option := range map[string]delivery.Option{
		"WithTimeout":                                 delivery.WithTimeout(0),
		"WithMaxBytes":                                delivery.WithMaxBytes(-1),
		"WithLease":                                   delivery.WithLease(-1),
		"WithKeep":                                    delivery.WithKeep(0),
		"WithScope":                                   delivery.WithScope(""),
		"WithLogger":                                  delivery.WithLogger(nil),
		"WithDeduplication":                           delivery.WithDeduplication(nil),
		"WithDeduplication: deduplicator is nil":      delivery.WithDeduplication((*delivery.Memory)(nil)),
		"options[0] is nil":                           nil,
		"WithCredentials":                             delivery.WithCredentials("", "secret"),
		"WithConsumer: the Target is not a URL":       delivery.WithConsumer(core.Consumer{Target: "http://u:sec%ret@h"}),
		"WithConsumer: the Target has no host":        delivery.WithConsumer(core.Consumer{Target: "secret"}),
		"WithConsumer: the Target has userinfo":       delivery.WithConsumer(core.Consumer{Target: "http://:secret@h/"}),
		"WithConsumer: Timeout":                       delivery.WithConsumer(core.Consumer{Target: "http://h/", Timeout: -1}),
		"WithConsumer: the Type is not HTTP: the ser": delivery.WithConsumer(core.Consumer{Target: "http://h/", Type: core.PubSub}),
	} {
		_, err := delivery.New(handle, option)
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "secret")
		assert.PanicsWithError(t, err.Error(), func() { delivery.Handler(handle, option) })
	}
	_, err := delivery.New[order](nil)
	require.ErrorContains(t, err, "function is nil")
}

// TestLog has the same message come again and again: the log tells once in a
// while, and how often.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		handler := delivery.Handler(func(_ context.Context, m delivery.Message[order]) error {
			if m.Payload.ID == 1 {
				panic("on purpose")
			}
			return errors.New("broken")
		}, delivery.WithTopic("orders"), delivery.WithLogger(slog.New(slog.NewTextHandler(&text, nil))))
		post := func(body string) string {
			text.Reset()
			r := httptest.NewRequest("POST", "/consume/orders", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("message-id", "9114")
			handler.ServeHTTP(httptest.NewRecorder(), r)
			return text.String()
		}
		line := post(message)
		for _, part := range []string{"level=ERROR", `msg="postoffice: message not handled"`, "path=/consume/orders", "status=500", "error=broken", "topic=orders", "id=9114"} {
			assert.Contains(t, line, part)
		}
		assert.NotContains(t, line, "omitted")
		for range 5 {
			assert.Empty(t, post(message))
		}
		assert.Contains(t, post(`{"id":"secret"}`), "cannot be decoded", "another kind")
		panicked := post(`{"id":1}`)
		assert.Contains(t, panicked, "on purpose")
		assert.Contains(t, panicked, "handler_test.go", "the stack")
		time.Sleep(10 * time.Second)
		assert.Contains(t, post(message), "omitted=5")
	})
}

// TestGoexit has a function end its goroutine, as t.FailNow does.
func TestGoexit(t *testing.T) {
	memory := newMemory(t, 0)
	handler := delivery.Handler(func(context.Context, delivery.Message[order]) error {
		runtime.Goexit()
		return nil
	}, quiet(), delivery.WithDeduplication(memory))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequest("POST", "/", strings.NewReader(message))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("message-id", "9114")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}()
	await(t, done, "the goroutine to end")
	assert.Zero(t, memory.Len(), "the message is released")
}
