package postofficetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

const publishing = `{"topic":"orders","payload":{},"attributes":{}}`

// tryPost publishes a message and returns the answer's status, or the error.
func tryPost(ctx context.Context, client *http.Client, url, body string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+wire.MessagePath, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func TestFailNext(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.FailNext(0, 500)
	server.AnswerNext(2, postofficetest.Answer{Status: http.StatusServiceUnavailable, RetryAfter: 1500 * time.Millisecond})
	server.AnswerNext(1, postofficetest.Answer{Status: http.StatusBadGateway, ContentType: "text/html", Body: "<h1>Bad Gateway</h1>"})
	server.FailNext(1, 7)
	client := newClient(t)
	for _, want := range []struct {
		status                        int
		retryAfter, contentType, body string
	}{
		{503, "2", "application/json; charset=utf-8", `{"errors":{"detail":"Service Unavailable"}}`},
		{503, "2", "application/json; charset=utf-8", `{"errors":{"detail":"Service Unavailable"}}`},
		{502, "", "text/html", `<h1>Bad Gateway</h1>`},
		{500, "", "application/json; charset=utf-8", `{"errors":{"detail":"Internal Server Error"}}`},
		{201, "", "application/json; charset=utf-8", `{"id":[]}`},
	} {
		got := send(t, client, http.MethodPost, server.URL()+wire.MessagePath, "application/json", publishing)
		assert.Equal(t, want.status, got.status)
		assert.Equal(t, want.retryAfter, got.header.Get("Retry-After"))
		assert.Equal(t, want.contentType, got.header.Get("Content-Type"))
		assert.Equal(t, want.body, got.body)
	}
	assert.Len(t, server.Messages(), 1)
	requests := server.Requests()
	require.Len(t, requests, 5)
	assert.Equal(t, []int{503, 503, 502, 500, 201}, []int{
		requests[0].Status, requests[1].Status, requests[2].Status, requests[3].Status, requests[4].Status,
	})
	assert.Equal(t, "POST", requests[0].Method)
	assert.Equal(t, wire.MessagePath, requests[0].Path)
	assert.True(t, bytes.Equal([]byte(publishing), requests[0].Body))
	assert.Equal(t, "application/json", requests[0].Header.Get("Content-Type"))
}

func TestFailWhen(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.FailWhen(func(r *http.Request, body []byte) (int, bool) {
		again, err := io.ReadAll(r.Body)
		assert.Equal(t, body, again, "%v", err)
		return http.StatusInternalServerError, r.URL.Path == wire.MessagePath && bytes.Contains(body, []byte("poison"))
	})
	client := newClient(t)
	poison := strings.Replace(publishing, "{}", `{"k":"poison"}`, 1)
	for body, want := range map[string]int{publishing: 201, poison: 500} {
		status, err := tryPost(t.Context(), client, server.URL(), body)
		require.NoError(t, err)
		assert.Equal(t, want, status)
	}
	server.Resume()
	status, err := tryPost(t.Context(), client, server.URL(), poison)
	require.NoError(t, err)
	assert.Equal(t, 201, status)
}

func TestDropNext(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.DropNext(1)
	client := newClient(t)
	_, err := tryPost(t.Context(), client, server.URL(), publishing)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, server.Messages(), 1, "it was accepted all the same")
	assert.Zero(t, server.Requests()[0].Status)
	status, err := tryPost(t.Context(), client, server.URL(), publishing)
	require.NoError(t, err)
	assert.Equal(t, 201, status)
}

func TestResetNext(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.ResetNext(1)
	client := newClient(t)
	_, err := tryPost(t.Context(), client, server.URL(), publishing)
	require.Error(t, err)
	assert.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF), "%v", err)
	assert.Empty(t, server.Messages())
	assert.Len(t, server.Requests(), 1)
	_, err = tryPost(t.Context(), client, server.URL(), publishing)
	require.NoError(t, err)
	assert.Len(t, server.Messages(), 1)
}

func TestHang(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.Hang()
	server.Hang()
	client := newClient(t)

	// One client gives up: its message is never accepted.
	impatient, giveUp := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		_, err := tryPost(impatient, client, server.URL(), publishing)
		assert.ErrorIs(t, err, context.Canceled)
	})
	require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 1 }))
	giveUp()
	waiting.Wait()

	// Another one waits.
	waiting.Go(func() {
		status, err := tryPost(t.Context(), client, server.URL(), strings.Replace(publishing, "{}", `{"patient":true}`, 1))
		assert.Equal(t, 201, status, "%v", err)
	})
	require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 2 }))
	assert.Empty(t, server.Messages())
	server.Resume()
	waiting.Wait()
	messages := server.Messages()
	require.Len(t, messages, 1)
	assert.JSONEq(t, `{"patient":true}`, string(messages[0].Payload))
}

func TestHangEndsWithClose(t *testing.T) {
	server := postofficetest.NewServer()
	server.Hang()
	client := newClient(t)
	failed := make(chan error)
	go func() {
		_, err := tryPost(t.Context(), client, server.URL(), publishing)
		failed <- err
	}()
	require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 1 }))
	server.Close()
	require.Error(t, <-failed)
}

// Where the API is mounted elsewhere, Close ends waiting requests all the
// same.
func TestHangOfMountedHandler(t *testing.T) {
	server := postofficetest.NewServer()
	server.Hang()
	mounted := httptest.NewServer(server.Handler())
	defer mounted.Close()
	client := newClient(t)
	failed := make(chan error)
	go func() {
		_, err := tryPost(t.Context(), client, mounted.URL, publishing)
		failed <- err
	}()
	require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 1 }))
	server.Close()
	require.Error(t, <-failed)
}

func TestDelay(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	server.Delay(50 * time.Millisecond)
	client := newClient(t)
	start := time.Now()
	status, err := tryPost(t.Context(), client, server.URL(), publishing)
	require.NoError(t, err)
	assert.Equal(t, 201, status)
	assert.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)

	server.Delay(time.Hour)
	impatient, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = tryPost(impatient, client, server.URL(), publishing)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Len(t, server.Messages(), 1)
}

func TestStopAndRestart(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	client := newClient(t)
	status, err := tryPost(t.Context(), client, server.URL(), publishing)
	require.NoError(t, err)
	require.Equal(t, 201, status)

	// A request in work is cut as well.
	server.Hang()
	failed := make(chan error)
	go func() {
		_, err := tryPost(t.Context(), client, server.URL(), publishing)
		failed <- err
	}()
	require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 2 }))
	url := server.URL()
	server.Stop()
	server.Stop()
	require.Error(t, <-failed)
	server.Resume()
	_, err = tryPost(t.Context(), client, url, publishing)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, server.Restart())
	require.NoError(t, server.Restart())
	assert.Equal(t, url, server.URL())
	status, err = tryPost(t.Context(), client, url, publishing)
	require.NoError(t, err)
	assert.Equal(t, 201, status)
	assert.Len(t, server.Messages(), 2, "the state is kept")

	server.Close()
	server.Close()
	require.ErrorIs(t, server.Restart(), postofficetest.ErrClosed)
}

func TestUnwell(t *testing.T) {
	server := postofficetest.Start(t)
	client := newClient(t)
	health := func() string {
		got := send(t, client, http.MethodGet, server.URL()+wire.HealthPath, "", "")
		assert.Equal(t, http.StatusOK, got.status)
		return got.body
	}
	server.SetUnwell(true)
	assert.JSONEq(t, `{"status":"ko"}`, health())
	server.SetUnwell(false)
	assert.JSONEq(t, `{"status":"ok"}`, health())
}

func TestLimits(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithBulkLimit(2), postofficetest.WithBodyLimit(200))
	addTopic(t, server, "orders")
	bulk := func(payloads string) (int, string) {
		return post(t, server, wire.BulkPath, `{"topic":"orders","attributes":{},"payload":[`+payloads+`]}`)
	}
	status, _ := bulk(`{},{}`)
	assert.Equal(t, http.StatusCreated, status)
	status, answer := bulk(`{},{},{}`)
	assert.Equal(t, http.StatusNotAcceptable, status)
	assert.JSONEq(t, `{"data":{"errors":"`+wire.BulkLimitError+`"}}`, answer)

	exactly := publishing + strings.Repeat(" ", 200-len(publishing))
	status, _ = post(t, server, wire.MessagePath, exactly)
	assert.Equal(t, http.StatusCreated, status)
	status, answer = post(t, server, wire.MessagePath, exactly+" ")
	assert.Equal(t, http.StatusRequestEntityTooLarge, status)
	assert.JSONEq(t, `{"errors":{"detail":"Request Entity Too Large"}}`, answer)
}

// Faults and accessors may be used while requests come in.
func TestConcurrency(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, nil)
	addTopic(t, server, "orders", consumer.URL)
	client := newClient(t)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 25 {
				_, _ = tryPost(t.Context(), client, server.URL(), publishing)
			}
		})
	}
	for _, do := range []func(){
		func() { server.FailNext(1, 503) }, func() { server.DropNext(1) }, func() { server.ResetNext(1) },
		func() { server.Hang(); server.Resume() }, func() { server.Advance(time.Second) },
		func() {
			server.Messages()
			server.Deliveries()
			server.Requests()
			server.Jobs()
			server.Topics()
			server.Consumers()
		},
	} {
		work.Go(func() {
			for range 10 {
				do()
			}
		})
	}
	work.Wait()
	require.NoError(t, server.WaitIdle(limited(t)))
	assert.Len(t, consumer.requests(), len(server.Messages()), "each accepted message is delivered once")
}
