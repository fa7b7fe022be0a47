package core

import "net/http"

// Serve runs next as one request of an app. It is for authors of adapters,
// whose middleware calls it around the handler:
//
//	return func(w http.ResponseWriter, r *http.Request) error {
//		return client.Serve(w, r, options, next)
//	}
//
// Serve creates the publisher of the request, puts it into the context of a
// copy of r, and calls next with w and the copy. When next has returned or
// panicked, Serve copies the forms, the pattern and its path values from the
// copy back to r, because net/http removes the temporary files of its own
// request and outer middlewares read these fields. Serve returns the error of
// next and does not recover panics. It starts no goroutine and writes nothing
// to w. A nil r counts as an empty request; a nil next is an error.
//
// With Options.FlushOn, next gets a [*Response] instead of w, and the adapter
// gives handlers a writer that calls [Response.Start] before the first byte. If
// next returns nil and nothing was sent, Serve settles the messages, with the
// status of w or 200. If next returns an error and nothing was sent, the
// framework's response to the error settles them; without such a response, they
// are dropped after the end of the request. After a panic they are dropped at
// once.
//
// The writer w is the framework's, or a wrapper by the adapter. Serve writes
// the response of Options.NotAccepted to it, and uses these methods if w has
// them:
//
//   - Status() int returns the status of a response that is not sent yet, as
//     Gin's handlers set it.
//   - Request() *http.Request returns the framework's request after next, if a
//     handler can replace it, as in Gin and Echo. It may be nil.
//
// A nil client also serves requests: the methods of their publishers return
// errors.
func (c *Client) Serve(w http.ResponseWriter, r *http.Request, options Options, next func(http.ResponseWriter, *http.Request) error) error {
	if next == nil {
		return misplaced("next", "is nil")
	}
	if r == nil {
		r = &http.Request{}
	}
	if c != nil {
		c.routes.firstRequest()
	}
	p := newPublisher(c, r, options)
	handled := r.WithContext(NewContext(r.Context(), p))
	defer func() { handBack(r, requestOf(w, handled)) }()
	if p.unit == nil {
		return next(w, handled)
	}
	response := &Response{ResponseWriter: w, unit: p.unit, request: r}
	if w != nil {
		response.header = w.Header().Clone()
	}
	panicked := true
	defer func() {
		if panicked {
			response.panicked()
		}
		response.restore()
	}()
	err := next(response, handled)
	panicked = false
	response.returned(w, err)
	return err
}

// requestOf returns the framework's request after its handlers.
func requestOf(w http.ResponseWriter, handled *http.Request) *http.Request {
	if framework, ok := w.(interface{ Request() *http.Request }); ok {
		return framework.Request()
	}
	return handled
}
