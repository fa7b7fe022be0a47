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

func TestLoggerAddsUpMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		l := loglimit.NewLogger(slog.New(slog.NewTextHandler(&text, nil)), "test: ")
		dead := func(about string, n int) string {
			text.Reset()
			l.ErrorMessages("dead", about, n, "they are dead", "topic", about)
			return text.String()
		}
		assert.Contains(t, dead("orders", 2), "topic=orders messages=2")
		assert.Empty(t, dead("orders", 3))
		assert.Contains(t, dead("bills", 7), "messages=7")
		assert.Empty(t, dead("orders", 4))
		time.Sleep(loglimit.Interval)
		assert.Contains(t, dead("orders", 1), "messages=8")
		time.Sleep(loglimit.Interval)
		assert.Contains(t, dead("orders", 1), "messages=1")
		time.Sleep(loglimit.Interval)
		text.Reset()
		l.WarnMessages("stored", "orders", 5, "they are stored")
		assert.Contains(t, text.String(), "level=WARN")
		assert.Contains(t, text.String(), "messages=5")
	})
}
