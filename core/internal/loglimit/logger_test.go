package loglimit_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/postoffice-go/postoffice/core/internal/loglimit"
)

func TestLoggerLogsOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := loglimit.NewLogger(slog.New(slog.NewTextHandler(&text, nil)), "test: ")
		for range 5 {
			l.Warn("stored", "orders", "it is stored", "topic", "orders")
			l.Warn("stored", "bills", "it is stored", "topic", "bills")
		}
		l.Error("dead", "orders", "it is dead")
		assert.Equal(t, 3, strings.Count(text.String(), "\n"), text.String())
		assert.Contains(t, text.String(), "level=ERROR")

		time.Sleep(loglimit.Interval)
		text.Reset()
		l.Warn("stored", "orders", "it is stored")
		assert.Contains(t, text.String(), "omitted=4")
		time.Sleep(loglimit.Interval)
		text.Reset()
		l.Warn("stored", "orders", "it is stored")
		assert.NotContains(t, text.String(), "omitted")
	})
}
