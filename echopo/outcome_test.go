package echopo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/echopo"
	"github.com/postoffice-go/postoffice/nethttp"
)

// TestOutcomes checks that FlushOn gets the status that echo answers with
// after the middleware.
func TestOutcomes(t *testing.T) {
	plain := errors.New("broken")
	notFound := echo.NewHTTPError(http.StatusNotFound)
	returns := func(err error) echo.HandlerFunc { return func(echo.Context) error { return err } }
	tests := map[string]struct {
		handler echo.HandlerFunc
		want    int
	}{
		"Nothing":           {returns(nil), 200},
		"JSON":              {func(c echo.Context) error { return c.JSON(201, map[string]int{}) }, 201},
		"NoContent":         {func(c echo.Context) error { return c.NoContent(503) }, 503},
		"HTTPError":         {returns(notFound), 404},
		"HTTPError5xx":      {returns(echo.ErrServiceUnavailable), 503},
		"Plain":             {returns(plain), 500},
		"Wrapped":           {returns(fmt.Errorf("wrapped: %w", notFound)), 500}, // echo does not look into it
		"InternalPlain":     {returns(echo.NewHTTPError(409).SetInternal(plain)), 409},
		"InternalHTTPError": {returns(echo.NewHTTPError(502).SetInternal(notFound)), 404},
		"InternalWrapped":   {returns(echo.NewHTTPError(502).SetInternal(fmt.Errorf("wrapped: %w", notFound))), 502},
		"InternalTwice":     {returns(echo.NewHTTPError(502).SetInternal(echo.NewHTTPError(409).SetInternal(notFound))), 409},
		"CommittedAndError": {func(c echo.Context) error { _ = c.String(200, "x"); return plain }, 200},
		"CommittedBadly":    {func(c echo.Context) error { _ = c.NoContent(500); return notFound }, 500},
		"ContextError":      {func(c echo.Context) error { c.Error(echo.ErrBadGateway); return nil }, 502},
		"ContextErrorTwice": {func(c echo.Context) error { c.Error(notFound); return plain }, 404},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e, outcomes := watching(t)
			e.GET("/", test.handler)
			assert.Equal(t, test.want, request(t, e, http.MethodGet, "/").Code, "what the client gets")
			assert.Equal(t, []core.Outcome{{Status: test.want}}, *outcomes)
		})
	}
}

// watching makes an app that publishes with each request, and notes what
// FlushOn is told.
func watching(t *testing.T, front ...echo.MiddlewareFunc) (*echo.Echo, *[]core.Outcome) {
	t.Helper()
	client, _ := newClient(t)
	outcomes := new([]core.Outcome)
	options := echopo.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
		*outcomes = append(*outcomes, outcome)
		return true
	}}
	e := echo.New()
	e.Use(front...)
	e.Use(echopo.Middleware(client, options), func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]int{})
			assert.NoError(t, err)
			return next(c)
		}
	})
	return e, outcomes
}

// TestOutcomeOfRecoveredPanics has a middleware that makes errors of panics,
// as echo's own Recover does, on either side.
func TestOutcomeOfRecoveredPanics(t *testing.T) {
	recovers := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			defer func() {
				if value := recover(); value != nil {
					err = fmt.Errorf("panic: %v", value)
				}
			}()
			return next(c)
		}
	}
	panics := func(echo.Context) error { panic("on purpose") }
	t.Run("InFront", func(t *testing.T) {
		e, outcomes := watching(t, recovers)
		e.GET("/", panics)
		assert.Equal(t, http.StatusInternalServerError, request(t, e, http.MethodGet, "/").Code)
		assert.Empty(t, *outcomes, "a panic drops the messages without a question")
	})
	t.Run("Behind", func(t *testing.T) {
		e, outcomes := watching(t)
		e.Use(recovers)
		e.GET("/", panics)
		assert.Equal(t, http.StatusInternalServerError, request(t, e, http.MethodGet, "/").Code)
		assert.Equal(t, []core.Outcome{{Status: http.StatusInternalServerError}}, *outcomes)
	})
}

// TestOutcomeByAnOwnErrorHandler has an app with an error handler of its own.
func TestOutcomeByAnOwnErrorHandler(t *testing.T) {
	e, outcomes := watching(t)
	e.HTTPErrorHandler = func(_ error, c echo.Context) {
		if !c.Response().Committed {
			_ = c.NoContent(http.StatusConflict)
		}
	}
	e.GET("/", func(echo.Context) error { return errors.New("broken") })
	assert.Equal(t, http.StatusConflict, request(t, e, http.MethodGet, "/").Code)
	assert.Equal(t, []core.Outcome{{Status: http.StatusConflict}}, *outcomes)
}

// TestOutcomeByAMiddlewareInFront has a middleware that answers the errors of
// handlers, in front of ours.
func TestOutcomeByAMiddlewareInFront(t *testing.T) {
	e, outcomes := watching(t, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if next(c) != nil {
				return c.NoContent(http.StatusTeapot)
			}
			return nil
		}
	})
	e.GET("/", func(echo.Context) error { return errors.New("broken") })
	assert.Equal(t, http.StatusTeapot, request(t, e, http.MethodGet, "/").Code)
	assert.Equal(t, []core.Outcome{{Status: http.StatusTeapot}}, *outcomes)
}

// compressing is a writer as echo's Gzip has one.
type compressing struct{ http.ResponseWriter }

func (w *compressing) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// TestOutcomeWhenTheWriterIsPutBack has a middleware in front that puts back the
// writer before echo answers an error, as echo's Gzip does.
func TestOutcomeWhenTheWriterIsPutBack(t *testing.T) {
	e, outcomes := watching(t, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			original := c.Response().Writer
			defer func() { c.Response().Writer = original }()
			c.Response().Writer = &compressing{original}
			return next(c)
		}
	})
	e.GET("/", func(echo.Context) error { return echo.ErrNotFound })
	assert.Equal(t, http.StatusNotFound, request(t, e, http.MethodGet, "/").Code)
	assert.Equal(t, []core.Outcome{{Status: http.StatusNotFound}}, *outcomes)
}

// held holds back a response, as the writers of middlewares for gzip do with a
// status without a body.
type held struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// holds is a middleware that takes back its writer before it sends anything.
func holds(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := &held{ResponseWriter: c.Response().Writer}
		c.Response().Writer = h
		err := next(c)
		c.Response().Writer = h.ResponseWriter
		if h.status != 0 {
			h.ResponseWriter.WriteHeader(h.status)
		}
		if h.body.Len() > 0 {
			_, _ = h.ResponseWriter.Write(h.body.Bytes())
		}
		return err
	}
}

// TestHeldResponse has such a middleware on either side.
func TestHeldResponse(t *testing.T) {
	handlers := map[string]struct {
		handler echo.HandlerFunc
		want    int
	}{
		"Nothing":   {func(echo.Context) error { return nil }, 200},
		"Text":      {func(c echo.Context) error { return c.String(http.StatusAccepted, "text") }, 202},
		"NoContent": {func(c echo.Context) error { return c.NoContent(http.StatusServiceUnavailable) }, 503},
		"Error404":  {func(echo.Context) error { return echo.ErrNotFound }, 404},
		"Error503":  {func(echo.Context) error { return echo.ErrServiceUnavailable }, 503},
	}
	for name, test := range handlers {
		t.Run(name+"/Outside", func(t *testing.T) {
			e, outcomes := watching(t, holds)
			e.GET("/", test.handler)
			assert.Equal(t, test.want, request(t, e, http.MethodGet, "/").Code)
			assert.Equal(t, []core.Outcome{{Status: test.want}}, *outcomes)
		})
		t.Run(name+"/Inside", func(t *testing.T) {
			e, outcomes := watching(t)
			e.Use(holds)
			e.GET("/", test.handler)
			assert.Equal(t, test.want, request(t, e, http.MethodGet, "/").Code)
			assert.Equal(t, []core.Outcome{{Status: test.want}}, *outcomes)
		})
	}
}

// broken is an outbox that takes nothing.
type broken struct{ outbox.Store }

func (broken) Insert(context.Context, time.Duration, ...outbox.Record) error {
	return errors.New("broken")
}

// offline is a transport without a server.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("offline") }

// TestNotAccepted checks what the client and echo get to see if the messages
// of a request are not accepted: the response that says so, whoever starts the
// one that it replaces.
func TestNotAccepted(t *testing.T) {
	handlers := map[string]echo.HandlerFunc{
		"Nothing":   func(echo.Context) error { return nil },
		"Text":      func(c echo.Context) error { return c.String(http.StatusOK, "text") },
		"NoContent": func(c echo.Context) error { return c.NoContent(http.StatusNoContent) },
		"Error404":  func(echo.Context) error { return echo.ErrNotFound },
	}
	for name, handler := range handlers {
		for side, front := range map[string]echo.MiddlewareFunc{"Alone": seeing, "HeldOutside": holds} {
			t.Run(name+"/"+side, func(t *testing.T) {
				client, err := core.NewClient(core.Config{
					URL: "http://postoffice.test", Outbox: broken{memory.New()}, HTTPClient: &http.Client{Transport: offline{}},
					Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(t, err)
				t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
				e := echo.New()
				var response *echo.Response
				e.Use(front, echopo.Middleware(client, echopo.Options{AfterResponse: core.Durable, FlushOn: core.Succeeded}))
				e.GET("/", func(c echo.Context) error {
					response = c.Response()
					_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]int{})
					assert.NoError(t, err)
					return handler(c)
				})
				got := request(t, e, http.MethodGet, "/")
				assert.Equal(t, http.StatusServiceUnavailable, got.Code)
				assert.Equal(t, "1", got.Header().Get("Retry-After"))
				assert.Equal(t, "Service Unavailable\n", got.Body.String())
				assert.Equal(t, http.StatusServiceUnavailable, response.Status, "what echo's loggers see")
				assert.True(t, response.Committed)
				assert.EqualValues(t, got.Body.Len(), response.Size)
			})
		}
	}
}

// seeing is a middleware that does nothing.
func seeing(next echo.HandlerFunc) echo.HandlerFunc { return next }

// TestWrappedMiddleware shows why the middleware of nethttp is not for Echo:
// it does not see the errors of handlers, which echo answers later.
func TestWrappedMiddleware(t *testing.T) {
	client, _ := newClient(t)
	var outcomes []core.Outcome
	options := nethttp.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool {
		outcomes = append(outcomes, outcome)
		return core.Succeeded(outcome)
	}}
	e := echo.New()
	e.Use(echo.WrapMiddleware(nethttp.Middleware(client, options)))
	publishing := func(after echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			_, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", map[string]int{})
			assert.NoError(t, err)
			return after(c)
		}
	}
	e.GET("/error", publishing(func(echo.Context) error { return echo.ErrServiceUnavailable }))
	e.GET("/response", publishing(func(c echo.Context) error { return c.NoContent(http.StatusServiceUnavailable) }))
	assert.Equal(t, http.StatusServiceUnavailable, request(t, e, http.MethodGet, "/error").Code)
	assert.Equal(t, http.StatusServiceUnavailable, request(t, e, http.MethodGet, "/response").Code)
	assert.Equal(t, []core.Outcome{{Status: http.StatusOK}, {Status: http.StatusServiceUnavailable}}, outcomes)
}
