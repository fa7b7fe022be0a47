package core_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core"
)

// What has no effect is told.
func TestWarnsOfWhatHasNoEffect(t *testing.T) {
	var text strings.Builder
	client := newTestClient(t, core.Config{URL: testServer, Logger: slog.New(slog.NewTextHandler(&text, nil))})
	begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
	client.AddRoute(core.Route{Path: "/a/", Handler: http.NotFoundHandler()})
	pathsOf(t, client)
	assert.Empty(t, text.String())
	client.AddRoute(core.Route{Path: "/b/"})
	assert.Contains(t, text.String(), "path=/b/")
}
