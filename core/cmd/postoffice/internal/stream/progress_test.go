package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The rate covers the last second, or the time since the beginning before that.
func TestRate(t *testing.T) {
	begin := time.Now()
	r := rate{since: begin}
	for _, c := range []struct {
		after    time.Duration
		messages int
		want     float64
	}{
		{0, 0, 0}, {100 * time.Millisecond, 50, 500}, {500 * time.Millisecond, 100, 200}, {2 * time.Second, 4000, 2000},
		{2500 * time.Millisecond, 9000, 2000}, {3 * time.Second, 9000, 5000}, {4 * time.Second, 9000, 0},
	} {
		assert.InDelta(t, c.want, r.at(begin.Add(c.after), c.messages), 0.001, c.after)
	}
}
