package core

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

func TestLimitedLoggerLogsOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := newLimitedLogger(slog.New(slog.NewTextHandler(&text, nil)))
		for range 5 {
			l.warn("stored", "orders", "it is stored", "topic", "orders")
			l.warn("stored", "bills", "it is stored", "topic", "bills")
		}
		l.error("dead", "orders", "it is dead")
		assert.Equal(t, 3, strings.Count(text.String(), "\n"), text.String())
		assert.Contains(t, text.String(), "level=ERROR")

		time.Sleep(loglimit.Interval)
		text.Reset()
		l.warn("stored", "orders", "it is stored")
		assert.Contains(t, text.String(), "omitted=4")
		time.Sleep(loglimit.Interval)
		text.Reset()
		l.warn("stored", "orders", "it is stored")
		assert.NotContains(t, text.String(), "omitted")
	})
}
