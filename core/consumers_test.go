package core_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

func TestCheckConsumers(t *testing.T) {
	const origin = "http://user:secret@Shop:8080"
	for name, test := range map[string]struct {
		origin, target string
		kind           core.ConsumerType
		asked          []string // nil if the target is none of this app
	}{
		"Own":              {origin, "http://u:secret@shop:8080/consume/orders?a=b", core.HTTP, []string{"/consume/orders"}},
		"DefaultType":      {origin, "http://shop:8080/consume/orders", "", []string{"/consume/orders"}},
		"Encoded":          {origin, "http://shop:8080/a%20b", core.HTTP, []string{"/a b"}},
		"NoPath":           {origin, "http://shop:8080", core.HTTP, []string{"/"}},
		"OtherHost":        {origin, "http://billing:8080/consume/orders", core.HTTP, nil},
		"OtherPort":        {origin, "http://shop:8081/consume/orders", core.HTTP, nil},
		"DefaultPort":      {"http://shop", "http://shop:80/consume", core.HTTP, []string{"/consume"}},
		"DefaultPortHTTPS": {"https://shop:443", "https://shop/consume", core.HTTP, []string{"/consume"}},
		"OtherScheme":      {"http://shop", "https://shop/consume", core.HTTP, nil},
		"NoScheme":         {"shop:8080", "http://shop:8080/consume", core.HTTP, []string{"/consume"}},
		"PubSub":           {origin, "http://shop:8080/consume", core.PubSub, nil},
		"Gateway":          {"http://gate/shop", "http://gate/shop/consume", core.HTTP, []string{"/shop/consume", "/consume"}},
		"GatewayItself":    {"http://gate/shop/", "http://gate/shop", core.HTTP, []string{"/shop", "/"}},
		"GatewayOtherApp":  {"http://gate/shop", "http://gate/shopping/consume", core.HTTP, nil},
		"WholeOrigin":      {"http://shop/postoffice/messages/", "http://shop/consume", core.HTTP, []string{"/consume"}},
		"NoOrigin":         {"", "http://shop/consume", core.HTTP, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			client, err := core.NewClient(core.Config{
				URL: "http://postoffice.test", OriginHost: test.origin, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				Consumers: []core.Consumer{{Topic: "orders", Target: test.target, Type: test.kind}},
			})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, client.Stop(context.Background())) })
			var asked []string
			missing := client.CheckConsumers(func(path string) bool {
				asked = append(asked, path)
				return false
			})
			assert.Equal(t, test.asked, asked)
			if test.asked == nil {
				assert.Empty(t, missing)
				assert.Empty(t, log.String())
				return
			}
			assert.Equal(t, []string{strings.Replace(test.target, "u:secret@", "", 1)}, missing)
			assert.Contains(t, log.String(), "level=WARN")
			assert.Contains(t, log.String(), "topic=orders")
			assert.NotContains(t, log.String(), "secret")
			log.Reset()
			for _, served := range test.asked {
				assert.Empty(t, client.CheckConsumers(func(path string) bool { return path == served }))
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
	} {
		for _, path := range paths.yes {
			assert.True(t, core.RouteMatches(route, path), "%s %s", route, path)
		}
		for _, path := range paths.no {
			assert.False(t, core.RouteMatches(route, path), "%s %s", route, path)
		}
	}
}
