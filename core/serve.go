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
// request and outer middlewares read these fields. Then it calls
// Options.FlushOn to decide whether the messages of the request are published.
// Serve returns the error of next and does not recover panics. It starts no
// goroutine and writes nothing to w. A nil r counts as an empty request; a nil
// next is an error.
//
// The writer w is the framework's, or a wrapper by the adapter. Serve uses
// these methods if w has them:
//
//   - Status() int returns the status of the response after next has returned.
//     Only Options.FlushOn needs it. A status below 200 other than 101 is not
//     final and counts as 200, or as 500 if next returned an error. The same
//     applies to a writer without the method.
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
	p := c.newPublisher(r, options)
	handled := r.WithContext(NewContext(r.Context(), p))
	defer func() { handBack(r, requestOf(w, handled)) }()
	if options.FlushOn == nil {
		return next(w, handled)
	}
	outcome := Outcome{Panicked: true}
	defer func() { p.end(outcome) }()
	err := next(w, handled)
	outcome = Outcome{Status: finalStatus(w, err)} // not after a panic
	return err
}

// requestOf returns the framework's request after its handlers.
func requestOf(w http.ResponseWriter, handled *http.Request) *http.Request {
	if framework, ok := w.(interface{ Request() *http.Request }); ok {
		return framework.Request()
	}
	return handled
}

// finalStatus returns the final status of a response, whatever the writer
// reports.
func finalStatus(w http.ResponseWriter, err error) int {
	if sent, ok := w.(interface{ Status() int }); ok {
		status := sent.Status()
		if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
			return status
		}
	}
	if err != nil {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}
