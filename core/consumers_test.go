package core

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckConsumers(t *testing.T) {
	const origin = "http://user:secret@Shop:8080"
	for name, test := range map[string]struct {
		origin, target string
		kind           ConsumerType
		asked          []string // nil if the target is none of this app
	}{
		"Own":              {origin, "http://u:secret@shop:8080/consume/orders?a=b", HTTP, []string{"/consume/orders"}},
		"DefaultType":      {origin, "http://shop:8080/consume/orders", "", []string{"/consume/orders"}},
		"Encoded":          {origin, "http://shop:8080/a%20b", HTTP, []string{"/a b"}},
		"NoPath":           {origin, "http://shop:8080", HTTP, []string{"/"}},
		"OtherHost":        {origin, "http://billing:8080/consume/orders", HTTP, nil},
		"OtherPort":        {origin, "http://shop:8081/consume/orders", HTTP, nil},
		"DefaultPort":      {"http://shop", "http://shop:80/consume", HTTP, []string{"/consume"}},
		"DefaultPortHTTPS": {"https://shop:443", "https://shop/consume", HTTP, []string{"/consume"}},
		"OtherScheme":      {"http://shop", "https://shop/consume", HTTP, nil},
		"NoScheme":         {"shop:8080", "http://shop:8080/consume", HTTP, []string{"/consume"}},
		"PubSub":           {origin, "http://shop:8080/consume", PubSub, nil},
		"Gateway":          {"http://gate/shop", "http://gate/shop/consume", HTTP, []string{"/shop/consume", "/consume"}},
		"GatewayItself":    {"http://gate/shop/", "http://gate/shop", HTTP, []string{"/shop", "/"}},
		"GatewayOtherApp":  {"http://gate/shop", "http://gate/shopping/consume", HTTP, nil},
		"WholeOrigin":      {"http://shop/postoffice/messages/", "http://shop/consume", HTTP, []string{"/consume"}},
		"NoOrigin":         {"", "http://shop/consume", HTTP, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client, err := NewClient(Config{
				URL: "http://postoffice.test", OriginHost: test.origin, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				Consumers: []Consumer{{Topic: "orders", Target: test.target, Type: test.kind}},
			})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
			var asked []string
			missing := client.routes.checkConsumers(func(path string) bool {
				asked = append(asked, path)
				return false
			})
			assert.Equal(t, test.asked, asked)
			if test.asked == nil {
				assert.Empty(t, missing)
				assert.Empty(t, log.String())
				return
			}
			assert.Equal(t, []string{redactTarget(test.target)}, missing)
			assert.Contains(t, log.String(), "level=WARN")
			assert.Contains(t, log.String(), "topic=orders")
			assert.NotContains(t, log.String(), "secret")
			log.Reset()
			for _, served := range test.asked {
				assert.Empty(t, client.routes.checkConsumers(func(path string) bool { return path == served }))
			}
			assert.Empty(t, log.String())
		})
	}
}

func TestRouteMatches(t *testing.T) {
	for route, paths := range map[string]struct{ yes, no []string }{
		"/":            {[]string{"/"}, []string{"/a", ""}},
		"/a/b":         {[]string{"/a/b"}, []string{"/a", "/a/b/", "/a/c", "/a/b/c"}},
		"/a/:id":       {[]string{"/a/b", "/a/1"}, []string{"/a", "/a/", "/a/b/c", "/b/a"}},
		"/:tenant/b":   {[]string{"/a/b"}, []string{"/a/c", "//b", "/b"}},
		"/a/*path":     {[]string{"/a/", "/a/b", "/a/b/c"}, []string{"/b/a"}},
		"/*":           {[]string{"/", "/a", "/a/b"}, nil},
		"/a/:id/*rest": {[]string{"/a/1/", "/a/1/b/c"}, []string{"/b/1/c"}},
		"/a/{id}":      {[]string{"/a/b", "/a/1"}, []string{"/a", "/a/", "/a/b/c", "/b/a"}},
		"/{$}":         {[]string{"/"}, []string{"/a", ""}},
		"/a/{$}":       {[]string{"/a/"}, []string{"/a", "/a/b"}},
		"/{path...}":   {[]string{"/", "/a", "/a/b"}, nil},
	} {
		for _, path := range paths.yes {
			assert.True(t, routeMatches(route, path), "%s %s", route, path)
		}
		for _, path := range paths.no {
			assert.False(t, routeMatches(route, path), "%s %s", route, path)
		}
	}
}
