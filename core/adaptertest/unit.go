package adaptertest

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// unitTests check that the response to a request agrees with the outcome of its
// messages. Each is named after the fault that it detects.
var unitTests = []test{
	{"SuccessAlthoughTheCommitFailed", successAlthoughTheCommitFailed},
	{"OwnAnswerInstead", ownAnswerInstead},
	{"SentBeforeTheCommit", sentBeforeTheCommit},
	{"CommittedInParts", committedInParts},
	{"MessagesOfAFailedHandler", inEachHeldWay(messagesOfAFailedHandler)},
	{"MessagesAfterATimeout", inEachHeldWay(messagesAfterATimeout)},
	{"LostByAHangUp", inEachHeldWay(lostByAHangUp)},
	{"StreamWithoutItsMessages", streamWithoutItsMessages},
	{"ConnectionWithoutItsMessages", connectionWithoutItsMessages},
	{"CompressedAnswerInstead", compressedAnswerInstead},
}

var errCommit = errors.New("the database is down")

// gatedStore is an outbox whose commits can fail and can be delayed.
type gatedStore struct {
	*memory.Store
	fails bool
	// begun receives a value when a commit begins; the commit then waits for a
	// value of proceed. Nil for no wait.
	begun, proceed chan struct{}

	mu      sync.Mutex
	commits []int // the number of records of each
}

// Insert waits, fails or stores the records.
func (s *gatedStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if s.begun != nil {
		s.begun <- struct{}{}
		<-s.proceed
	}
	if s.fails {
		return errCommit
	}
	s.mu.Lock()
	s.commits = append(s.commits, len(records))
	s.mu.Unlock()
	return s.Store.Insert(ctx, delay, records...)
}

// unitClient creates a client with a store.
func unitClient(t *testing.T, server *postofficetest.Server, store *gatedStore) *core.Client {
	t.Helper()
	store.Store = memory.New()
	return newClient(t, server, func(config *core.Config) { config.Outbox = store })
}

// publishTwo publishes two messages and checks that they are held.
func publishTwo(call Call) error {
	receipt, err := call.Publisher().PublishBulk(call.Request.Context(), topic, []any{map[string]int{"n": 0}, map[string]int{"n": 1}})
	if err == nil && receipt.State != core.Held {
		err = errors.New("the messages are " + receipt.State.String())
	}
	return err
}

// answering returns the ways in which handlers respond.
func answering(t *testing.T) map[string]Handler {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("x", 10_000)), 0o600))
	return map[string]Handler{
		"Nothing": nothing,
		"Text":    func(call Call) error { _, err := io.WriteString(call.Writer, "secret"); return err },
		"Status": func(call Call) error {
			call.Writer.Header().Set("Location", "/orders/7")
			call.Writer.WriteHeader(http.StatusCreated)
			_, err := io.WriteString(call.Writer, "secret")
			return err
		},
		"NoContent":   func(call Call) error { call.Writer.WriteHeader(http.StatusNoContent); return nil },
		"NotModified": func(call Call) error { call.Writer.WriteHeader(http.StatusNotModified); return nil },
		"Length": func(call Call) error {
			call.Writer.Header().Set("Content-Length", "6")
			_, err := io.WriteString(call.Writer, "secret")
			return err
		},
		"Copy": func(call Call) error {
			_, err := io.Copy(call.Writer, strings.NewReader(strings.Repeat("secret", 1000)))
			return err
		},
		"File": func(call Call) error { http.ServeFile(call.Writer, call.Request, file); return nil },
		"Flush": func(call Call) error {
			_ = http.NewResponseController(call.Writer).Flush()
			_, err := io.WriteString(call.Writer, "secret")
			return err
		},
		"Error": func(Call) error { return StatusError(http.StatusNotFound) },
		"Compressed": func(call Call) error {
			call.Writer.Header().Set("Content-Encoding", "gzip")
			compressor := gzip.NewWriter(call.Writer)
			_, _ = io.WriteString(compressor, "secret")
			return compressor.Close()
		},
	}
}

// successAlthoughTheCommitFailed uses an outbox that fails.
func successAlthoughTheCommitFailed(t *testing.T, adapter Adapter) {
	for name, handler := range answering(t) {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			t.Run(name+"/"+method, func(t *testing.T) {
				server := newServer(t)
				client := unitClient(t, server, &gatedStore{fails: true})
				options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
				app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
					call.Writer.Header().Set("X-Of", "handler")
					assert.NoError(t, publishTwo(call))
					return handler(call)
				}}))
				got := app.do(t, method, Path, nil)
				assert.Equal(t, http.StatusServiceUnavailable, got.Status)
				assert.Equal(t, "1", got.Header.Get("Retry-After"))
				assert.Empty(t, got.Header.Get("X-Of"), "the header is reset to its state before the handler")
				assert.Empty(t, got.Header.Get("Location"))
				assert.Empty(t, got.Header.Get("Content-Encoding"))
				if method == http.MethodHead {
					assert.Empty(t, got.Body)
				} else {
					assert.Equal(t, "Service Unavailable\n", got.Body)
				}
				assert.Empty(t, server.MessagesOf(topic))
			})
		}
	}
}

// ownAnswerInstead uses an app with its own response to messages that are not
// accepted.
func ownAnswerInstead(t *testing.T, adapter Adapter) {
	client := unitClient(t, newServer(t), &gatedStore{fails: true})
	options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded, NotAccepted: func(w http.ResponseWriter, r *http.Request, err error) {
		assert.Equal(t, Path, r.URL.Path)
		assert.ErrorIs(t, err, errCommit)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, `{"later":true}`)
	}}
	for name, handler := range answering(t) {
		t.Run(name, func(t *testing.T) {
			app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
				assert.NoError(t, publishTwo(call))
				return handler(call)
			}}))
			got := app.do(t, http.MethodGet, Path, nil)
			assert.Equal(t, http.StatusBadGateway, got.Status)
			assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
			assert.JSONEq(t, `{"later":true}`, got.Body)
		})
	}
}

// sentBeforeTheCommit uses a commit that takes long.
func sentBeforeTheCommit(t *testing.T, adapter Adapter) {
	for name, handler := range answering(t) {
		t.Run(name, func(t *testing.T) {
			store := &gatedStore{begun: make(chan struct{}), proceed: make(chan struct{})}
			server := newServer(t)
			client := unitClient(t, server, store)
			options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
			app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
				assert.NoError(t, publishTwo(call))
				return handler(call)
			}}))
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(app.url, "http://"))
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "GET "+Path+" HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
			require.NoError(t, err)
			await(t, store.begun, "the commit to begin")
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
			n, err := conn.Read(make([]byte, 1))
			assert.Zero(t, n, "no byte before the commit")
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			assert.Empty(t, server.MessagesOf(topic))
			close(store.proceed)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, response.Body)
			require.NoError(t, err)
			assert.NoError(t, response.Body.Close())
			assert.Less(t, response.StatusCode, http.StatusInternalServerError)
			store.begun = nil
			require.NoError(t, server.WaitForMessages(soon(t), topic, 2))
		})
	}
}

// committedInParts counts the commits of a request with several messages.
func committedInParts(t *testing.T, adapter Adapter) {
	store := &gatedStore{}
	server := newServer(t)
	client := unitClient(t, server, store)
	options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		for range 3 {
			assert.NoError(t, publishTwo(call))
		}
		return nil
	}}))
	app.get(t)
	store.mu.Lock()
	assert.Equal(t, []int{6}, store.commits)
	store.mu.Unlock()
	require.NoError(t, server.WaitForMessages(soon(t), topic, 6))
}

// messagesOfAFailedHandler drops the messages in every mode.
func messagesOfAFailedHandler(t *testing.T, adapter Adapter, w way) {
	failing := map[string]Handler{
		"Error":  func(Call) error { return StatusError(http.StatusServiceUnavailable) },
		"Status": func(call Call) error { http.Error(call.Writer, "no", http.StatusServiceUnavailable); return nil },
		"Recovered": func(call Call) error {
			defer func() {
				if recover() != nil {
					http.Error(call.Writer, "no", http.StatusInternalServerError)
				}
			}()
			panic("on purpose")
		},
		"Panic": func(Call) error { panic(http.ErrAbortHandler) },
		"TooLarge": func(call Call) error {
			_, err := io.ReadAll(http.MaxBytesReader(call.Writer, io.NopCloser(strings.NewReader("large")), 2))
			if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
				return err
			}
			return StatusError(http.StatusRequestEntityTooLarge)
		},
	}
	for name, handler := range failing {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			client := w.newClient(t, server)
			options := w.options
			options.FlushOn = core.Committed
			handled, ended := signalEnd(adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
				assert.NoError(t, publishTwo(call))
				return handler(call)
			}}))
			got, err := serve(t, handled).try(t.Context(), http.MethodPost, Path, nil)
			if name != "Panic" {
				require.NoError(t, err)
				assert.GreaterOrEqual(t, got.Status, http.StatusBadRequest)
			}
			await(t, ended, "the request to end")
			require.NoError(t, client.Stop(soon(t)))
			assert.Empty(t, server.MessagesOf(topic))
			assert.Zero(t, client.Stats().Queued)
		})
	}
}

// messagesAfterATimeout puts http.TimeoutHandler in front of the app.
func messagesAfterATimeout(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	ended := make(chan struct{})
	app := adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		assert.NoError(t, publishTwo(call))
		<-call.Request.Context().Done() // the client gets 503 now
		return nil
	}})
	got := serve(t, http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		app.ServeHTTP(w, r)
	}), time.Millisecond, "timeout")).do(t, http.MethodGet, Path, nil)
	assert.Equal(t, http.StatusServiceUnavailable, got.Status)
	await(t, ended, "the handler to end")
	require.NoError(t, client.Stop(soon(t)))
	assert.Empty(t, server.MessagesOf(topic))
	assert.Zero(t, client.Stats().Queued)
}

// lostByAHangUp uses a client that does not wait for the response.
func lostByAHangUp(t *testing.T, adapter Adapter, w way) {
	server := newServer(t)
	client := w.newClient(t, server)
	inside := make(chan struct{})
	app, ended := signalEnd(adapter.New(App{Client: client, Options: w.options, Handler: func(call Call) error {
		assert.NoError(t, publishTwo(call))
		close(inside)
		await(t, call.Request.Context().Done(), "the client to hang up")
		return nil
	}}))
	site := serve(t, app)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var asking sync.WaitGroup
	asking.Go(func() {
		_, err := site.try(ctx, http.MethodGet, Path, nil)
		assert.ErrorIs(t, err, context.Canceled)
	})
	await(t, inside, "the handler")
	hangUp()
	asking.Wait()
	await(t, ended, "the handler to end")
	w.delivered(t, client, server, 2)
}

// streamWithoutItsMessages sends server-sent events.
func streamWithoutItsMessages(t *testing.T, adapter Adapter) {
	store := &gatedStore{}
	server := newServer(t)
	client := unitClient(t, server, store)
	options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
	app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		assert.NoError(t, publishTwo(call))
		call.Writer.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = io.WriteString(call.Writer, "data: x\n\n")
			_ = http.NewResponseController(call.Writer).Flush()
			store.mu.Lock()
			assert.Len(t, store.commits, i+1, "committed before the event")
			store.mu.Unlock()
			receipt, err := call.Publisher().Publish(call.Request.Context(), topic, map[string]int{"n": i})
			assert.NoError(t, err)
			assert.Equal(t, core.Stored, receipt.State, "accepted by itself")
		}
		return nil
	}}))
	got := app.do(t, http.MethodGet, Path, nil)
	assert.Equal(t, strings.Repeat("data: x\n\n", 3), got.Body)
	require.NoError(t, server.WaitForMessages(soon(t), topic, 5))
}

// connectionWithoutItsMessages hijacks the connection, as WebSocket libraries
// do.
func connectionWithoutItsMessages(t *testing.T, adapter Adapter) {
	for _, fails := range []bool{false, true} {
		t.Run(map[bool]string{false: "Accepted", true: "NotAccepted"}[fails], func(t *testing.T) {
			store := &gatedStore{fails: fails}
			server := newServer(t)
			client := unitClient(t, server, store)
			options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
			app := serve(t, adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
				assert.NoError(t, publishTwo(call))
				conn, buffer, err := http.NewResponseController(call.Writer).Hijack()
				if fails {
					assert.Error(t, err)
					return nil
				}
				if !assert.NoError(t, err) {
					return nil
				}
				defer func() { _ = conn.Close() }()
				_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
				return buffer.Flush()
			}}))
			got := app.do(t, http.MethodGet, Path, nil)
			if fails {
				assert.Equal(t, http.StatusServiceUnavailable, got.Status)
				assert.Empty(t, server.MessagesOf(topic))
				return
			}
			assert.Equal(t, http.StatusSwitchingProtocols, got.Status)
			require.NoError(t, server.WaitForMessages(soon(t), topic, 2))
		})
	}
}

// compressedAnswerInstead puts a compressing middleware in front of the app.
func compressedAnswerInstead(t *testing.T, adapter Adapter) {
	client := unitClient(t, newServer(t), &gatedStore{fails: true})
	options := core.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}
	app := adapter.New(App{Client: client, Options: options, Handler: func(call Call) error {
		assert.NoError(t, publishTwo(call))
		_, err := io.WriteString(call.Writer, "secret")
		return err
	}})
	got := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		compressor := gzip.NewWriter(w)
		defer func() { _ = compressor.Close() }()
		app.ServeHTTP(compressing{w, compressor}, r)
	})).do(t, http.MethodGet, Path, nil)
	assert.Equal(t, http.StatusServiceUnavailable, got.Status)
	assert.Equal(t, "gzip", got.Header.Get("Content-Encoding"))
	reader, err := gzip.NewReader(strings.NewReader(got.Body))
	require.NoError(t, err)
	text, err := io.ReadAll(reader)
	require.NoError(t, err)
	assert.Equal(t, "Service Unavailable\n", string(text))
}

// compressing is a writer that compresses.
type compressing struct {
	http.ResponseWriter
	compressor io.Writer
}

func (w compressing) Write(b []byte) (int, error) { return w.compressor.Write(b) }
