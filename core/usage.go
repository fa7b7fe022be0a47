package core

import "sync/atomic"

// maxUsageMessages is how many messages a usage can count.
const maxUsageMessages = 1<<24 - 1

// usage counts messages and their bytes, within bounds. It packs both into
// one number, so that counting takes no lock: 24 bits of messages above 40
// bits of bytes.
type usage struct{ packed atomic.Uint64 }

const usageBits = 40

func pack(messages, bytes int) uint64 { return uint64(messages)<<usageBits + uint64(bytes) }

// add counts messages, unless that would exceed a bound. What exceeds the
// bounds alone is counted when there is nothing else.
func (u *usage) add(messages, bytes, maxMessages, maxBytes int) bool {
	alone := messages <= maxUsageMessages && u.packed.CompareAndSwap(0, pack(messages, bytes))
	return alone || u.addWithin(messages, bytes, maxMessages, maxBytes)
}

// addWithin counts messages, unless that would exceed a bound.
func (u *usage) addWithin(messages, bytes, maxMessages, maxBytes int) bool {
	for {
		packed := u.packed.Load()
		newMessages, newBytes := int(packed>>usageBits)+messages, int(packed&(1<<usageBits-1))+bytes
		if newMessages > maxMessages || newBytes > maxBytes {
			return false
		}
		if u.packed.CompareAndSwap(packed, pack(newMessages, newBytes)) {
			return true
		}
	}
}

// count counts messages whatever the bounds are.
func (u *usage) count(messages, bytes int) { u.packed.Add(pack(messages, bytes)) }

// load tells what is counted.
func (u *usage) load() (messages, bytes int) {
	packed := u.packed.Load()
	return int(packed >> usageBits), int(packed & (1<<usageBits - 1))
}

// remove takes messages off the count.
func (u *usage) remove(messages, bytes int) {
	u.packed.Add(-pack(messages, bytes))
}
