package typednil_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

func TestIs(t *testing.T) {
	for _, value := range []any{
		nil, (*http.Client)(nil), http.HandlerFunc(nil), http.Header(nil), http.RoundTripper((*http.Transport)(nil)), []int(nil), (chan int)(nil),
	} {
		assert.True(t, typednil.Is(value), "%T", value)
	}
	for _, value := range []any{0, "", struct{}{}, &http.Client{}, http.Header{}, http.NotFoundHandler(), [2]*int{}} {
		assert.False(t, typednil.Is(value), "%T", value)
	}
}
