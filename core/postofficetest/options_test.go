package postofficetest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestBadOptions(t *testing.T) {
	for name, option := range map[string]postofficetest.Option{
		"options[1] is nil":       nil,
		"WithSecond of -1s":       postofficetest.WithSecond(-time.Second),
		"WithBulkLimit of -1":     postofficetest.WithBulkLimit(-1),
		"WithBodyLimit of -1":     postofficetest.WithBodyLimit(-1),
		"WithHistory of -1":       postofficetest.WithHistory(-1),
		"WithMaxGap of -1s":       postofficetest.WithMaxGap(-time.Second),
		"WithCost of {Cores:-1":   postofficetest.WithCost(postofficetest.Cost{Cores: -1}),
		"WithCost of {Cores:0 Re": postofficetest.WithCost(postofficetest.Cost{Message: -1}),
		"WithFront":               postofficetest.WithFront((func(*postofficetest.Server) http.Handler)(nil)),
	} {
		server, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime(), option)
		if !assert.ErrorContains(t, err, "postofficetest: "+name) {
			server.Close()
		}
	}
	assert.Panics(t, func() { postofficetest.NewServer(nil) })
}
