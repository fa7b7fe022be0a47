package core

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// anyMessage is an id that no message has. It is used to query a router for the
// route of a message.
const anyMessage = "00000000-0000-7000-8000-000000000000"

// Router describes the router of a framework, or a group of routes, to
// [Client.MountRoutes], [Client.Register] and [MountConsumer]. It is for
// authors of adapters.
type Router struct {
	// Native is the router that the app passed to the adapter. It is only used
	// to report an error if it is nil or holds a nil pointer. Required.
	Native any

	// Handle adds a route for one method and path. A panic means that the
	// router rejects the route. Required.
	Handle func(method, path string, handler http.Handler)

	// Below is the suffix that makes a path with a trailing slash match
	// everything below it, such as "*path" in Gin. Defaults to none.
	Below string

	// Exact is the suffix that makes a path with a trailing slash match nothing
	// below it, such as "{$}" in net/http. Defaults to none.
	Exact string

	// Routes returns the app's routes that may serve a request, as a path, or
	// as a method, a space and a path. In a path, ":name" and "{name}" match
	// one segment. "*", "*name" and "{name...}" match the rest, as does a
	// trailing slash if Exact is set. Routes that do not match are ignored, so
	// the function may return all routes. The request has only a method and a
	// path. The function is called when routes are mounted, and at the first
	// request. Defaults to nil: the app's routes are unknown.
	Routes func(*http.Request) []string

	// Prefix is the prefix of the group. Handle adds it to a path, and the
	// paths of Routes begin with it. Defaults to none.
	Prefix string
}

// check returns an error if the router cannot be used.
func (r Router) check() error {
	switch {
	case typednil.Is(r.Native):
		return misplaced("router", "is nil")
	case r.Handle == nil:
		return misplaced("Router.Handle", "is nil")
	}
	return nil
}

// methods returns the methods that a route is mounted for. Handlers reject
// unsupported methods themselves, because a router would respond without
// checking credentials.
func methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
	}
}

// handle adds routes for all methods. It returns the panic value of a router
// that rejects one.
func (r Router) handle(path string, handler http.Handler) (reason any) {
	defer func() { reason = recover() }()
	for _, method := range methods() {
		r.Handle(method, path, handler)
	}
	return nil
}

// exactly returns the route that matches only the path and nothing below it.
func (r Router) exactly(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + r.Exact
	}
	return path
}

// serving returns the app's patterns that serve a path below the prefix for one
// of the methods.
func (r Router) serving(path string, methods ...string) (patterns []string) {
	if r.Routes == nil {
		return nil
	}
	path = r.Prefix + path
	for _, method := range methods {
		for _, pattern := range r.Routes(&http.Request{Method: method, URL: &url.URL{Path: path}}) {
			own, route := partsOf(pattern)
			if r.Exact != "" && strings.HasSuffix(route, "/") {
				route += "*"
			}
			if (own == "" || own == method) && routeMatches(route, path) {
				patterns = append(patterns, pattern)
			}
		}
	}
	return patterns
}

// partsOf returns the method of a pattern, empty for any, and its path. A host
// between them is skipped.
func partsOf(pattern string) (method, path string) {
	start := max(strings.IndexByte(pattern, '/'), 0)
	if end := strings.IndexAny(pattern[:start], " \t"); end > 0 {
		method = pattern[:end]
	}
	return method, pattern[start:]
}

// routeMatches reports whether a path matches a route in the notation of
// Router.Routes.
func routeMatches(route, path string) bool {
	segments, rest := strings.Split(strings.TrimSuffix(route, "{$}"), "/"), strings.Split(path, "/")
	for i, segment := range segments {
		named := strings.HasPrefix(segment, ":") || strings.HasPrefix(segment, "{")
		switch {
		case strings.HasPrefix(segment, "*"), named && strings.HasSuffix(segment, "...}"):
			return true
		case i >= len(rest):
			return false
		case named && rest[i] != "":
		case segment != rest[i]:
			return false
		}
	}
	return len(segments) == len(rest)
}

// Register starts the client as part of an app. It checks the options of the
// middleware and that the routes are free, calls [Client.Start], calls use,
// which installs the middleware in the app, and mounts the routes as
// [Client.MountRoutes] does. It returns the errors of MountRoutes and Start,
// and ErrInvalidConfig for invalid options. After an error, use was not called,
// unless the router rejected a route. It is for authors of adapters.
//
// After Register, the first request of [Client.Serve] checks the configured
// HTTP consumers whose target is this app according to Config.OriginHost. It
// logs a warning for each one that no route of the app serves, because the
// server would retry the delivery for 85 days. It checks nothing if
// Router.Routes is nil.
func (c *Client) Register(router Router, options Options, use func()) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := options.check(c); err != nil {
		return err
	}
	if err := c.routes.free(router); err != nil {
		return err
	}
	if err := c.Start(context.Background()); err != nil {
		return err
	}
	if router.Routes != nil {
		c.routes.unchecked.Store(&router)
	}
	use()
	return c.MountRoutes(router)
}

// pathsOf returns the path of a route with and without its trailing slash. The
// root has only one path.
func pathsOf(route Route) []string {
	if route.Path == "/" {
		return []string{"/"}
	}
	return []string{route.Path, strings.TrimSuffix(route.Path, "/")}
}

// MountRoutes mounts the client's routes in an app: the recovery endpoint and
// the routes of AddRoute. Each route serves its path, the path without the
// trailing slash, and everything below it.
//
// If the app already serves the path of a route, MountRoutes mounts nothing and
// returns ErrInvalidConfig with the path. This happens if another client has
// the same Config.RecoveryPath, if the client was mounted before, or if the app
// has its own route there. It returns the same error if the router rejects a
// route. It is for authors of adapters.
func (c *Client) MountRoutes(router Router) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := c.routes.free(router); err != nil {
		return err
	}
	for _, route := range c.routes.all() {
		paths := pathsOf(route)
		paths[0] += router.Below
		for _, path := range paths { // no redirect from one to the other
			if refused := router.handle(path, route.Handler); refused != nil {
				return c.routes.taken(route, fmt.Sprintf("the router rejects it: %v", refused))
			}
		}
	}
	return nil
}

// MountConsumer mounts the handler that receives the server's posts to a
// consumer, at the path of its target, with and without a trailing slash.
//
// If the handler is nil, the path does not begin with a slash, or the app
// already serves it, MountConsumer mounts nothing and returns ErrInvalidConfig
// with the problem. It is for authors of adapters.
func MountConsumer(router Router, path string, handler http.Handler) error {
	if err := router.check(); err != nil {
		return err
	}
	switch {
	case typednil.Is(handler):
		return misplaced("handler", "of the consumer at %q is nil", path)
	case !strings.HasPrefix(path, "/"):
		return misplaced("path", "is %q; it must begin with a slash", path)
	}
	paths := pathsOf(Route{Path: strings.TrimRight(path, "/") + "/"})
	for _, path := range paths {
		for _, pattern := range router.serving(path, methods()...) {
			// Patterns that match everything below a path are less specific.
			_, at := partsOf(pattern)
			if at, ok := strings.CutPrefix(at, router.Prefix); ok && slices.ContainsFunc(paths, func(path string) bool { return router.exactly(path) == at }) {
				return misplaced("path", "is %q, which the app's route %q already serves", path, pattern)
			}
		}
	}
	for _, path := range paths {
		if refused := router.handle(router.exactly(path), handler); refused != nil {
			return misplaced("path", "is %q, which the router rejects: %v", path, refused)
		}
	}
	return nil
}

// misplaced returns the error for a route that cannot be mounted.
func misplaced(field, format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalidConfig, fieldError(field, format, args...))
}
