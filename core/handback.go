package core

import (
	"net/http"
	"strings"
)

// HandBack puts on a request what handlers and routers have put on a copy of
// it: forms, the pattern and the path values of the pattern. net/http removes
// the temporary files of the MultipartForm of its own request, and middlewares
// in front of an adapter's look at theirs. An adapter that gives the handler a
// copy defers HandBack, so that it runs after a panic, too:
//
//	handled := r.WithContext(ctx)
//	defer core.HandBack(r, handled)
//	next.ServeHTTP(w, handled)
//
// What the copy does not have is left as it is. HandBack is for authors of
// adapters.
func HandBack(r, handled *http.Request) {
	if r == nil || handled == nil || r == handled {
		return
	}
	// Nothing is written that is there already: others may be reading the
	// request. Forms are parsed once, so one that is there is the same.
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

// handBackPathValues copies the values of the wildcards, such as {id} and
// {path...}, in the pattern of a request. There is no other list of them.
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
