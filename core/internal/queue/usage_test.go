package queue

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUsageHasBounds(t *testing.T) {
	var u usage
	assert.True(t, u.add(1, 1000, 10, 100), "larger than all there is room for, but alone")
	assert.False(t, u.add(1, 1, 10, 100))
	u.remove(1, 1000)
	assert.True(t, u.add(10, 50, 10, 100))
	assert.False(t, u.add(1, 0, 10, 100), "messages")
	u.remove(5, 0)
	assert.True(t, u.add(1, 50, 10, 100))
	assert.False(t, u.add(1, 1, 10, 100), "bytes")
	u.remove(6, 100)
	assert.Zero(t, u.packed.Load())
	assert.False(t, u.addWithin(11, 1, 10, 100), "alone, but without the exception for that")
	assert.False(t, u.add(MaxMessages+1, 1, 10, 100), "more than it can count")
}

func TestUsageCountsAtTheSameTime(t *testing.T) {
	var u usage
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 1000 {
				for !u.add(1, 7, 3, 1<<30) {
					continue
				}
				assert.LessOrEqual(t, u.packed.Load()>>usageBits, uint64(3))
				u.remove(1, 7)
			}
		})
	}
	running.Wait()
	assert.Zero(t, u.packed.Load())
}
