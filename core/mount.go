package core

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// anyMessage is the id of no message, to ask routers who would serve one.
const anyMessage = "00000000-0000-7000-8000-000000000000"

// CheckRoutes tells whether MountRoutes would find the paths of the client's
// routes free. It is for authors of adapters, whose Register calls it before
// it changes anything.
func (c *Client) CheckRoutes(matching func(path string) []string) error {
	if err := c.present(); err != nil {
		return err
	}
	routes := c.Routes()
	for i, route := range routes {
		switch {
		case !strings.HasPrefix(route.Path, "/") || !strings.HasSuffix(route.Path, "/"):
			return misplaced(c.pathField(route), "is %q; it must begin and end in a slash", route.Path)
		case typednil.Is(route.Handler):
			return misplaced("Route.Handler", "of the path %q is nil", route.Path)
		case slices.ContainsFunc(routes[:i], func(other Route) bool { return other.Path == route.Path }):
			return misplaced(c.pathField(route), "is %q, as that of another route of the client", route.Path)
		}
		bare := strings.TrimSuffix(route.Path, "/")
		for _, path := range []string{route.Path, bare, route.Path + anyMessage, route.Path + anyMessage + "/"} {
			if path == "" {
				continue
			}
			for _, pattern := range matching(path) {
				// Less precise ones, such as "/*", are none of ours and leave it to us.
				if at := pathOf(pattern); at == bare || strings.HasPrefix(at, route.Path) {
					return c.taken(route, fmt.Sprintf("the app has the route %q", pattern))
				}
			}
		}
	}
	return nil
}

// MountRoutes has an adapter mount what an app has to serve for this client: the
// recovery endpoint, and what AddRoute has added. The function matching tells
// which routes of the app serve a path by any method, in the notation of the
// router and without the prefix of a group; those that it cannot know are left
// out. mount adds a route for its path, the path without the slash at its end,
// and everything below it.
//
// Nothing is mounted, and the error is ErrInvalidConfig and names the path, when
// the app serves the path of a route already: another client has the same
// Config.RecoveryPath, the client was mounted before, or the route is the app's
// own. A panic of mount, by which some routers refuse a route, is such an error,
// too. It is for authors of adapters.
func (c *Client) MountRoutes(matching func(path string) []string, mount func(Route)) error {
	if err := c.CheckRoutes(matching); err != nil {
		return err
	}
	for _, route := range c.Routes() {
		if refused := refusal(func() { mount(route) }); refused != nil {
			return c.taken(route, fmt.Sprintf("the router refuses it: %v", refused))
		}
	}
	return nil
}

// MountConsumer has an adapter serve what the server posts to a consumer, at
// the path of its target, with and without a slash at its end. matching is
// that of [Client.MountRoutes]; mount adds the handler for one path alone.
//
// Nothing is mounted, and the error is ErrInvalidConfig and names what is
// wrong, when the handler is nil, the path does not begin with a slash, or the
// app serves it already. It is for authors of adapters.
func MountConsumer(path string, handler http.Handler, matching func(path string) []string, mount func(path string)) error {
	if typednil.Is(handler) {
		return misplaced("handler", "of the consumer at %q is nil", path)
	}
	if !strings.HasPrefix(path, "/") {
		return misplaced("path", "is %q; it must begin with a slash", path)
	}
	bare := strings.TrimRight(path, "/")
	paths := []string{bare + "/", bare}
	if bare == "" {
		paths = paths[:1]
	}
	for _, path := range paths {
		for _, pattern := range matching(path) {
			if at := strings.TrimSuffix(pathOf(pattern), "{$}"); slices.Contains(paths, at) {
				return misplaced("path", "is %q, where the app has the route %q already", path, pattern)
			}
		}
	}
	for _, path := range paths {
		if refused := refusal(func() { mount(path) }); refused != nil {
			return misplaced("path", "is %q, and the router refuses it: %v", path, refused)
		}
	}
	return nil
}

// refusal returns what a router panics with when it refuses a route.
func refusal(mount func()) (reason any) {
	defer func() { reason = recover() }()
	mount()
	return nil
}

// pathOf returns the path of a pattern, which may have a method and a host
// before it.
func pathOf(pattern string) string {
	if at := strings.IndexByte(pattern, '/'); at > 0 {
		return pattern[at:]
	}
	return pattern
}

// taken is the error for a route whose path is not free.
func (c *Client) taken(route Route, why string) error {
	if c.pathField(route) == "Route.Path" {
		return misplaced("Route.Path", "is %q, which is taken: %s", route.Path, why)
	}
	return misplaced("Config.RecoveryPath", "is %q, which is taken: %s; each client in an app needs one of its own", route.Path, why)
}

// pathField names where the path of a route is set.
func (c *Client) pathField(route Route) string {
	if route.Path == c.cfg.recoveryPath {
		return "Config.RecoveryPath"
	}
	return "Route.Path"
}

// misplaced is the error for something that cannot be mounted.
func misplaced(field, format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalidConfig, fieldError(field, format, args...))
}

// callable is the error of a call that publishes: the client or the context is
// nil.
func (c *Client) callable(ctx context.Context) error {
	if ctx == nil {
		return invalid(fieldError("ctx", "is nil"))
	}
	return c.present()
}

// present is the error of a client that is nil: NewClient has returned an error
// that was not looked at.
func (c *Client) present() error {
	if c == nil {
		return misplaced("client", "is nil; NewClient returns one, or an error")
	}
	return nil
}
