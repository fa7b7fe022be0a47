package core

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// CheckConsumers looks for configured HTTP consumers whose target is this app,
// going by Config.OriginHost, and that the app does not handle: the server
// would deliver to them in vain for 85 days. Each is logged as a warning, and
// its target returned, without credentials. It is for adapters, which call it
// once when all routes are added; serves tells whether the app has a route
// for a POST to a path.
//
// A target is this app's if it has the host and port of OriginHost and, where
// OriginHost has a path, begins with that: a gateway may serve several apps.
// Whether the gateway takes that part away is not known, so a route with or
// without it will do.
func (c *Client) CheckConsumers(serves func(path string) bool) []string {
	if c == nil {
		return nil
	}
	var missing []string
	for _, consumer := range c.cfg.consumers {
		paths := c.cfg.ownPaths(consumer)
		if len(paths) == 0 || slices.ContainsFunc(paths, serves) {
			continue
		}
		target := redactTarget(consumer.Target)
		missing = append(missing, target)
		c.cfg.logger.Warn("postoffice: a consumer's target is this app, which has no route for it: its messages cannot be delivered",
			"topic", consumer.Topic, "target", target)
	}
	return missing
}

// ownPaths returns the paths at which the app may see what the server posts
// to a consumer; none if that is another app's.
func (s *settings) ownPaths(consumer Consumer) []string {
	if s.originHost == "" || consumer.Type != HTTP {
		return nil
	}
	origin, originErr := url.Parse(s.originHost)
	target, targetErr := url.Parse(consumer.Target)
	if originErr != nil || targetErr != nil || hostAndPort(origin) != hostAndPort(target) {
		return nil
	}
	path := cmp.Or(target.Path, "/")
	prefix := strings.TrimSuffix(origin.Path, s.recoveryPath)
	if prefix == "" {
		return []string{path}
	}
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	return []string{path, cmp.Or(rest, "/")}
}

// hostAndPort returns the host of a URL with its port, the default one if it
// names none.
func hostAndPort(u *url.URL) string {
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + cmp.Or(u.Port(), port)
}

// RouteMatches tells whether a path matches a route in the notation of many
// routers, such as those of Gin and Echo: a segment ":name" stands for any
// other, and "*name" for all that follow. It is for the adapters.
func RouteMatches(route, path string) bool {
	segments, rest := strings.Split(route, "/"), strings.Split(path, "/")
	for i, segment := range segments {
		switch {
		case strings.HasPrefix(segment, "*"):
			return true
		case i >= len(rest):
			return false
		case strings.HasPrefix(segment, ":") && rest[i] != "":
		case segment != rest[i]:
			return false
		}
	}
	return len(segments) == len(rest)
}
