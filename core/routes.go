package core

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// Route is a handler that adapters mount for a client.
type Route struct {
	// Path is the prefix of all paths of the handler; it ends in "/".
	Path string
	// Handler serves the path and all paths below it.
	Handler http.Handler
}

// AddRoute adds a handler that adapters mount together with the recovery
// endpoint, such as the page of undelivered messages, which outboxpage.Mount
// adds. Call it before Mount or Register: a route that is added later is not
// served, and the log contains a warning.
func (c *Client) AddRoute(route Route) {
	if c == nil { // MountRoutes returns the error
		return
	}
	c.routes.add(route)
}

// routes holds the routes that an app serves for a client.
type routes struct {
	cfg      *settings
	log      *loglimit.Logger
	recovery http.Handler

	mu      sync.Mutex
	added   []Route
	mounted bool

	unchecked atomic.Pointer[Router] // the first request checks its routes
}

// add adds a route.
func (s *routes) add(route Route) {
	s.mu.Lock()
	s.added = append(s.added, route)
	late := s.mounted
	s.mu.Unlock()
	if late {
		s.log.Always(slog.LevelWarn, "a route was added after the routes were mounted and may not be served; add it before Register", "path", route.Path)
	}
}

// all returns the routes to mount: the recovery endpoint and the routes of
// AddRoute.
func (s *routes) all() []Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounted = true
	return append([]Route{{Path: s.cfg.recoveryPath, Handler: s.recovery}}, s.added...)
}

// free returns an error if the router is nil or already serves a path of the
// client's routes.
func (s *routes) free(router Router) error {
	if err := router.check(); err != nil {
		return err
	}
	routes := s.all()
	for i, route := range routes {
		switch {
		case !strings.HasPrefix(route.Path, "/") || !strings.HasSuffix(route.Path, "/"):
			return misplaced(s.pathField(route), "is %q; it must begin and end with a slash", route.Path)
		case typednil.Is(route.Handler):
			return misplaced("Route.Handler", "of the path %q is nil", route.Path)
		case slices.ContainsFunc(routes[:i], func(other Route) bool { return other.Path == route.Path }):
			return misplaced(s.pathField(route), "is %q, which is also the path of another route of the client", route.Path)
		}
		for _, path := range append(pathsOf(route), route.Path+anyMessage, route.Path+anyMessage+"/") {
			for _, pattern := range router.serving(path, methods()...) {
				// Less specific patterns, such as "/*", do not conflict.
				_, at := partsOf(pattern)
				if at+"/" == router.Prefix+route.Path || strings.HasPrefix(at, router.Prefix+route.Path) {
					return s.taken(route, fmt.Sprintf("the app has the route %q", pattern))
				}
			}
		}
	}
	return nil
}

// taken returns the error for a route whose path is not free.
func (s *routes) taken(route Route, why string) error {
	if s.pathField(route) == "Route.Path" {
		return misplaced("Route.Path", "is %q, which is taken: %s", route.Path, why)
	}
	return misplaced("Config.RecoveryPath", "is %q, which is taken: %s; each client in an app needs a different one", route.Path, why)
}

// pathField returns the name of the field that sets the path of a route.
func (s *routes) pathField(route Route) string {
	if route.Path == s.cfg.recoveryPath {
		return "Config.RecoveryPath"
	}
	return "Route.Path"
}

// firstRequest checks the consumers against the routes of the app, once. By the
// first request, the app has added all its routes.
func (s *routes) firstRequest() {
	if s.unchecked.Load() == nil {
		return
	}
	if router := s.unchecked.Swap(nil); router != nil {
		s.checkConsumers(func(path string) bool { return len(router.serving(path, http.MethodPost)) > 0 })
	}
}

// checkConsumers finds configured HTTP consumers whose target is this app,
// according to Config.OriginHost, but has no route. It logs a warning for each
// and returns the targets, without credentials.
//
// A target belongs to this app if it has the host and port of OriginHost and
// begins with the path of OriginHost, because a gateway may serve several apps.
// A gateway may or may not strip that path, so a route with or without it is
// sufficient.
func (s *routes) checkConsumers(serves func(path string) bool) []string {
	var missing []string
	for _, consumer := range s.cfg.consumers {
		paths := s.cfg.ownPaths(consumer)
		if len(paths) == 0 || slices.ContainsFunc(paths, serves) {
			continue
		}
		target := redactTarget(consumer.Target)
		missing = append(missing, target)
		s.log.Always(slog.LevelWarn, "a consumer's target is this app, but the app has no route for it: the server cannot deliver its messages",
			"topic", consumer.Topic, "target", target)
	}
	return missing
}
