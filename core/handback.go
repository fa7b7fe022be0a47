package core

import (
	"net/http"
	"strings"
)

// handBack copies the fields that handlers and routers have set on a copy of a
// request back to the request: forms, the pattern and its path values. net/http
// removes the temporary files of the original request's MultipartForm, and
// outer middlewares read these fields. It does not change fields that are not
// set on the copy.
func handBack(r, handled *http.Request) {
	if handled == nil || r == handled {
		return
	}
	// Existing values are not overwritten, because other goroutines may read
	// the request. A form is parsed only once, so an existing one is the same.
	if r.MultipartForm == nil && handled.MultipartForm != nil {
		r.MultipartForm = handled.MultipartForm
	}
	if r.Form == nil && handled.Form != nil {
		r.Form = handled.Form
	}
	if r.PostForm == nil && handled.PostForm != nil {
		r.PostForm = handled.PostForm
	}
	if handled.Pattern != "" && handled.Pattern != r.Pattern {
		r.Pattern = handled.Pattern
		handBackPathValues(r, handled)
	}
}

// handBackPathValues copies the values of the wildcards in the pattern, such as
// {id} and {path...}. net/http has no other way to list them.
func handBackPathValues(r, handled *http.Request) {
	for rest := handled.Pattern; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			r.SetPathValue(name, handled.PathValue(name))
		}
	}
}
