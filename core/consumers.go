package core

import (
	"cmp"
	"net/url"
	"strings"
)

// ownPaths returns the paths at which this app may receive the server's posts
// to a consumer; none if the target is another app.
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

// hostAndPort returns the host and port of a URL, with the default port if it
// has none.
func hostAndPort(u *url.URL) string {
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + cmp.Or(u.Port(), port)
}
