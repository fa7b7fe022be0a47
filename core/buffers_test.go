package core_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// The client uses the memory of a batch again for later ones. The tests here
// have somebody read a batch late.

// publishLetters publishes messages that hold a letter many times, as one batch.
func publishLetters(t *testing.T, client *core.Client, letter string, options ...core.PublishOption) {
	t.Helper()
	p := publisherIn(t, client, core.Memory)
	for range 10 {
		_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat(letter, 1000)}, options...)
		require.NoError(t, err)
	}
	require.NoError(t, client.Flush(t.Context()))
}

// letters are what the tests publish one after the other.
var letters = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

// An app's transport may read a body when it has answered and closed it.
func TestBodiesStayAsTheyAreForAnAppsTransport(t *testing.T) {
	// In a bubble, where no batch is sealed because its messages take long.
	synctest.Test(t, func(t *testing.T) {
		var bodies []io.Reader
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{
			Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				bodies = append(bodies, r.Body)
				return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: r}, r.Body.Close()
			}),
		}})
		for _, letter := range letters {
			publishLetters(t, client, letter)
		}
		require.Len(t, bodies, len(letters))
		for i, letter := range letters {
			body, err := io.ReadAll(bodies[i])
			require.NoError(t, err)
			assert.Equal(t, 10, bytes.Count(body, []byte(strings.Repeat(letter, 1000))), letter)
		}
	})
}

// keepingStore is an outbox that keeps what it is given, without a copy.
type keepingStore struct {
	outbox.Store
	kept [][]byte
}

func (s *keepingStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	for _, record := range records {
		s.kept = append(s.kept, record.Payload)
	}
	return s.Store.Insert(ctx, delay, records...)
}

func TestPayloadsStayAsTheyAreForAnOutbox(t *testing.T) {
	for name, options := range map[string][]core.PublishOption{"bare": nil, "with ids": {core.WithMessageID()}} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, "orders")
			store := &keepingStore{Store: memory.New()}
			client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, Timeout: time.Minute, BulkTimeout: time.Minute,
				Batching: core.Batching{MaxAge: time.Minute}, MetadataInPayload: true})
			server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
				return http.StatusBadRequest, bytes.Contains(body, []byte(`"poison`))
			})
			var ids []string
			for i, letter := range letters {
				p := publisherIn(t, client, core.Memory)
				receipt, err := p.Publish(t.Context(), "orders", map[string]string{"text": fmt.Sprint("poison", i)}, options...)
				require.NoError(t, err)
				ids = append(ids, receipt.IDs...)
				publishLetters(t, client, letter, options...)
			}
			require.Len(t, store.kept, len(letters))
			for i, payload := range store.kept {
				metadata, rest := metadataOf(t, string(payload))
				assert.Equal(t, fmt.Sprintf(`{"text":"poison%d"}`, i), rest)
				if options != nil {
					assert.Equal(t, ids[i], metadata[core.MessageIDAttribute])
				}
			}
		})
	}
}
