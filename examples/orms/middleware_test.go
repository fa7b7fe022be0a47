package orms_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/examples/orms"
)

func TestHandler(t *testing.T) {
	each(t, func(t *testing.T, s *shop, _ sqlstore.Dialect) {
		handler := orms.NewHandler(s.db, s.client)
		post := func(item string) int {
			body := strings.NewReader(url.Values{"item": {item}}.Encode())
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w.Code
		}
		assert.Equal(t, http.StatusInternalServerError, post("unicorn"))
		assert.Empty(t, s.orders(t))
		assert.Empty(t, s.messages(t))
		assert.Equal(t, http.StatusCreated, post("it's a $1 ? teapot"))
		assert.Equal(t, []int64{1}, s.orders(t))
		assert.Equal(t, []string{teapot1}, s.messages(t))
		assert.Equal(t, http.StatusInternalServerError, post("another"))
		assert.Equal(t, []string{teapot1}, s.messages(t))
	})
}
