package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup starts a server with a topic, and a client.
func setup(t *testing.T) (*postofficetest.Server, *core.Client) {
	t.Helper()
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "p", Type: postofficetest.TypePubSub})
	require.NoError(t, err)
	client, err := core.NewClient(core.Config{URL: server.URL()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Stop(context.Background())) })
	return server, client
}

func options() Options { return Options{Topic: "orders", Limit: 10, Bytes: 1_000_000} }

// received returns the payloads that a server has received.
func received(server *postofficetest.Server) []string {
	var payloads []string
	for _, message := range server.MessagesOf("orders") {
		payloads = append(payloads, string(message.Payload))
	}
	return payloads
}

// numbered makes lines {"n":1} and so on.
func numbered(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(`{"n":%d}`, i+1)
	}
	return texts
}

func TestAllLinesInOrder(t *testing.T) {
	server, client := setup(t)
	texts := numbered(25)
	var progress []string
	o := options()
	o.OnProgress = func(accepted int, bytes int64) { progress = append(progress, fmt.Sprint(accepted, bytes)) }
	report := Run(t.Context(), client, strings.NewReader(strings.Join(texts, "\n")), o)
	assert.Equal(t, Report{Accepted: 25}, report)
	assert.Equal(t, texts, received(server))
	assert.Equal(t, []string{"10 81", "20 171", "25 215"}, progress)
	assert.Len(t, server.Requests(), 3)
}

func TestNothing(t *testing.T) {
	_, client := setup(t)
	assert.Equal(t, Report{}, Run(t.Context(), client, strings.NewReader("\n \n"), options()))
}

// TestPayloadsAreKept sends payloads that would change if they were decoded and encoded
// again.
func TestPayloadsAreKept(t *testing.T) {
	server, client := setup(t)
	texts := []string{
		`{"z":1,"a":1.0,"big":123456789012345678901234567890,"e":1E+2,"zero":-0.0}`,
		`{"html":"<&>","escaped":"\u00e4\/\u2028","plain":"ä` + "\u2028" + `"}`,
		`{"twice":1,"twice":2}`,
	}
	report := Run(t.Context(), client, strings.NewReader(strings.Join(texts, "\n")), options())
	assert.Equal(t, Report{Accepted: 3}, report)
	assert.Equal(t, texts, received(server))
}

var invalid = map[string]string{
	`{"n":`:                          "ends before its JSON does",
	`{"n":x}`:                        "is not valid JSON at byte 6",
	`{"n":1} {"n":2}`:                "something after its JSON, at byte 8",
	`[{"n":1}]`:                      "is a JSON list",
	`"text"`:                         "is a JSON string",
	`true`:                           "is true",
	`7`:                              "is a number",
	`{"text":"\u0000"}`:              "has text, which contains a NUL",
	"{\"n\":\"\xff\"}":               "UTF-8",
	strings.Repeat("x", MaxLine+100): ErrLineTooLong.Error(),
	`{"n":"` + strings.Repeat("x", 7_000_000) + `"}`: "is too large",
}

func TestInvalidLineEndsIt(t *testing.T) {
	for text, problem := range invalid {
		t.Run(problem, func(t *testing.T) {
			server, client := setup(t)
			texts := numbered(20)
			texts[13] = text
			report := Run(t.Context(), client, strings.NewReader(strings.Join(texts, "\n\n")), options())
			assert.Equal(t, 13, report.Accepted)
			assert.Equal(t, 1, report.Invalid)
			assert.Equal(t, 27, report.NextLine)
			var line *InvalidLineError
			require.ErrorAs(t, report.Err, &line)
			assert.Equal(t, 27, line.Line)
			assert.ErrorContains(t, line, problem)
			assert.Equal(t, texts[:13], received(server))
		})
	}
}

func TestInvalidLinesAreSkipped(t *testing.T) {
	server, client := setup(t)
	var texts, good, want []string
	for text, problem := range invalid {
		want = append(want, fmt.Sprint(len(texts)+1), problem)
		texts = append(texts, text)
		for range 3 {
			good = append(good, fmt.Sprintf(`{"n":%d}`, len(texts)))
			texts = append(texts, good[len(good)-1])
		}
	}
	o := options()
	o.SkipInvalid = true
	reasons := map[int]error{}
	o.OnInvalid = func(line int, err error) { reasons[line] = err }
	report := Run(t.Context(), client, strings.NewReader(strings.Join(texts, "\n")), o)
	assert.Equal(t, Report{Accepted: len(good), Invalid: len(invalid)}, report)
	assert.Equal(t, good, received(server))
	for i := 0; i < len(want); i += 2 {
		var line int
		_, err := fmt.Sscan(want[i], &line)
		require.NoError(t, err)
		if assert.Contains(t, reasons, line) {
			assert.ErrorContains(t, reasons[line], want[i+1])
		}
	}
}

func TestServerThatFails(t *testing.T) {
	server, client := setup(t)
	server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, len(server.Messages()) >= 20 })
	report := Run(t.Context(), client, strings.NewReader(strings.Join(numbered(100), "\n")), options())
	assert.Equal(t, 20, report.Accepted)
	assert.Equal(t, []string{"21-30"}, report.NotAccepted.Strings())
	assert.Equal(t, 31, report.NextLine)
	var response *core.ResponseError
	require.ErrorAs(t, report.Err, &response)
	assert.Equal(t, 503, response.StatusCode)
}

// TestPoison uses a server that refuses some messages and accepts the others.
func TestPoison(t *testing.T) {
	poison := func(status int) func(*http.Request, []byte) (int, bool) {
		return func(_ *http.Request, body []byte) (int, bool) {
			return status, strings.Contains(string(body), `"n":7}`) || strings.Contains(string(body), `"n":22}`)
		}
	}
	t.Run("it ends there", func(t *testing.T) {
		server, client := setup(t)
		server.FailWhen(poison(500))
		report := Run(t.Context(), client, strings.NewReader(strings.Join(numbered(30), "\n")), options())
		assert.Equal(t, 9, report.Accepted)
		assert.Equal(t, []string{"7"}, report.NotAccepted.Strings())
		assert.Equal(t, 11, report.NextLine)
		assert.Len(t, received(server), 9)
	})
	for _, status := range []int{400, 500} {
		t.Run(fmt.Sprintf("%d is skipped", status), func(t *testing.T) {
			server, client := setup(t)
			server.FailWhen(poison(status))
			o := options()
			o.SkipInvalid = true
			report := Run(t.Context(), client, strings.NewReader(strings.Join(numbered(30), "\n")), o)
			assert.Equal(t, 28, report.Accepted)
			assert.Equal(t, []string{"7", "22"}, report.NotAccepted.Strings())
			assert.Zero(t, report.NextLine)
			assert.Error(t, report.Err)
			assert.Len(t, received(server), 28)
		})
	}
}

func TestInputThatFails(t *testing.T) {
	server, client := setup(t)
	broken := errors.New("the disk is gone")
	report := Run(t.Context(), client, io.MultiReader(strings.NewReader("{\"n\":1}\n{\"n\":2}\n"), iotest.ErrReader(broken)), options())
	assert.Equal(t, 2, report.Accepted)
	assert.Equal(t, 3, report.NextLine)
	assert.ErrorIs(t, report.Err, broken)
	assert.Len(t, received(server), 2)
}

// publisherFunc is a Publisher.
type publisherFunc func(ctx context.Context, payloads []any) error

func (f publisherFunc) PublishBulk(ctx context.Context, _ string, payloads []any, _ ...core.PublishOption) (core.Receipt, error) {
	return core.Receipt{}, f(ctx, payloads)
}

// TestLinger checks that slow lines do not wait for a full chunk.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		input, output := io.Pipe()
		var sizes []int
		publish := publisherFunc(func(_ context.Context, payloads []any) error {
			sizes = append(sizes, len(payloads))
			return nil
		})
		done := make(chan Report)
		go func() { done <- Run(t.Context(), publish, input, options()) }()
		for range 2 {
			_, err := io.WriteString(output, "{}\n{}\n")
			require.NoError(t, err)
			synctest.Wait()
			<-time.After(Linger)
			synctest.Wait()
		}
		assert.Equal(t, []int{2, 2}, sizes)
		require.NoError(t, output.Close())
		assert.Equal(t, Report{Accepted: 4}, <-done)
	})
}

// TestInterrupted ends the context while a request is in progress: Run waits for its
// outcome and sends nothing after it.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	publish := publisherFunc(func(context.Context, []any) error {
		if calls++; calls == 3 {
			cancel()
			return fmt.Errorf("%w: %w", core.ErrNotAccepted, &core.PartialError{Indexes: []int{4, 5, 6, 7, 8, 9}, Err: context.Canceled})
		}
		return nil
	})
	report := Run(ctx, publish, strings.NewReader(strings.Join(numbered(1000), "\n")), options())
	assert.Equal(t, 3, calls)
	assert.Equal(t, 24, report.Accepted)
	assert.Equal(t, []string{"25-30"}, report.NotAccepted.Strings())
	assert.Equal(t, 31, report.NextLine)
}

// TestInterruptedWhileReading ends the context while Run waits for input.
func TestInterruptedWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		input, output := io.Pipe()
		calls := 0
		publish := publisherFunc(func(context.Context, []any) error { calls++; return nil })
		done := make(chan Report)
		go func() { done <- Run(ctx, publish, input, options()) }()
		_, err := io.WriteString(output, strings.Join(numbered(10), "\n")+"\n\n{\"n\":11}\n")
		require.NoError(t, err)
		synctest.Wait()
		cancel()
		assert.Equal(t, Report{Accepted: 10, NextLine: 12}, <-done)
		assert.Equal(t, 1, calls)
		require.NoError(t, output.Close())
	})
}

// TestBytesBound checks that large lines are sent in small chunks.
func TestBytesBound(t *testing.T) {
	var sizes []int
	publish := publisherFunc(func(_ context.Context, payloads []any) error {
		bytes := 0
		for _, payload := range payloads {
			bytes += len(payload.(json.RawMessage))
		}
		sizes = append(sizes, bytes)
		return nil
	})
	line := `{"text":"` + strings.Repeat("x", 89) + `"}` // 100 bytes
	o := options()
	o.Bytes = 250
	Run(t.Context(), publish, strings.NewReader(strings.Repeat(line+"\n", 7)), o)
	assert.Equal(t, []int{300, 300, 100}, sizes)
}

func TestRanges(t *testing.T) {
	var ranges Ranges
	for _, number := range []int{1, 2, 3, 7, 9, 10} {
		ranges.add(number)
	}
	assert.Equal(t, "1-3, 7, 9-10", ranges.String())
	assert.Equal(t, 6, ranges.Count())
	for number := 100; number < 1000; number += 2 {
		ranges.add(number)
	}
	assert.Len(t, ranges.Strings(), maxRanges)
	assert.Equal(t, 456, ranges.Count())
	assert.True(t, strings.HasSuffix(ranges.String(), ", …"))
}
