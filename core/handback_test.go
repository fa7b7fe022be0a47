package core_test

import (
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core"
)

func TestHandBack(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/a/b/c", nil)
	handled := r.WithContext(t.Context())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{first}/{rest...}", func(http.ResponseWriter, *http.Request) {})
	mux.ServeHTTP(httptest.NewRecorder(), handled)
	handled.MultipartForm = &multipart.Form{}
	handled.Form, handled.PostForm = url.Values{"a": {"b"}}, url.Values{"c": {"d"}}
	core.HandBack(r, handled)
	assert.Equal(t, "GET /{first}/{rest...}", r.Pattern)
	assert.Equal(t, "a", r.PathValue("first"))
	assert.Equal(t, "b/c", r.PathValue("rest"))
	assert.Same(t, handled.MultipartForm, r.MultipartForm)
	assert.Equal(t, handled.Form, r.Form)
	assert.Equal(t, handled.PostForm, r.PostForm)
}

func TestHandBackTakesNothingAway(t *testing.T) {
	form := &multipart.Form{}
	r := &http.Request{Pattern: "/{id}", MultipartForm: form, Form: url.Values{}, PostForm: url.Values{}}
	r.SetPathValue("id", "7")
	want := *r
	core.HandBack(r, &http.Request{})
	core.HandBack(r, r)
	core.HandBack(r, nil)
	core.HandBack(nil, r)
	assert.Equal(t, want, *r)
	handled := &http.Request{Pattern: "{", MultipartForm: &multipart.Form{}}
	core.HandBack(r, handled)
	assert.Same(t, form, r.MultipartForm, "the handler cannot have parsed it again")
	assert.Equal(t, "{", r.Pattern)
}
