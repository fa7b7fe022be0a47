package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestCommitsTakeHalfOfTheWindow(t *testing.T) {
	const window = 100 * time.Millisecond
	a := newAllowance(window)
	a.learn(1000, 1_000_000, 4*window)
	messages, bytes := a.commit()
	assert.Equal(t, 1000/4/2, messages)
	assert.Equal(t, 1_000_000/4/2, bytes)
	for range 10 {
		a.learn(2000, 4_000_000, time.Microsecond)
	}
	messages, bytes = a.commit()
	assert.Equal(t, commitMessages, messages, "however fast the outbox is")
	assert.Equal(t, commitBytes, bytes)
}
