package deliver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLimitsAreLearnedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(500, 7000)
		check := func(topic string, payloads, bytes int) {
			t.Helper()
			gotPayloads, gotBytes := l.of(topic)
			assert.Equal(t, payloads, gotPayloads, topic)
			assert.Equal(t, bytes, gotBytes, topic)
		}
		check("a", 500, 7000)
		l.learnTopic("a", 250)
		check("a", 250, 7000)
		check("b", 500, 7000)
		l.learnPayloads(100)
		check("a", 100, 7000)
		check("b", 100, 7000)
		l.learnBytes(10)
		check("b", 100, 10)
		l.learnTopic("b", 0)
		check("b", 1, 10)
		l.learnPayloads(100_000)
		check("c", 500, 10)

		time.Sleep(limitMemory)
		check("a", 500, 7000)
		check("b", 500, 7000)
		time.Sleep(time.Second)
		l.learnTopic("c", 1)
		assert.Len(t, l.byTopic, 1, "what is forgotten takes no memory")
	})
}
