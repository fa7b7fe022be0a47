package core

import "sync/atomic"

// maxUsageMessages is how many messages a usage can count.
const maxUsageMessages = 1<<24 - 1

// usage counts messages and their bytes, within bounds. It packs both into
// one number, so that counting takes no lock: 24 bits of messages above 40
// bits of bytes.
type usage struct{ packed atomic.Uint64 }

const usageBits = 40

// add counts messages, unless that would exceed a bound. What exceeds the
// bounds alone is counted when there is nothing else.
func (u *usage) add(messages, bytes, maxMessages, maxBytes int) bool {
	for {
		packed := u.packed.Load()
		newMessages, newBytes := int(packed>>usageBits)+messages, int(packed&(1<<usageBits-1))+bytes
		fits := newMessages <= maxMessages && newBytes <= maxBytes || packed == 0
		if !fits || newMessages > maxUsageMessages {
			return false
		}
		if u.packed.CompareAndSwap(packed, uint64(newMessages)<<usageBits|uint64(newBytes)) {
			return true
		}
	}
}

// remove takes messages off the count.
func (u *usage) remove(messages, bytes int) {
	u.packed.Add(-(uint64(messages)<<usageBits + uint64(bytes)))
}
