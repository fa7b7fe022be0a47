package queue

import "sync/atomic"

// MaxMessages is the maximum number of messages that a queue can count.
const MaxMessages = 1<<24 - 1

// usage counts messages and their bytes within bounds. It packs both into one
// number, which needs no lock: 24 bits of messages above 40 bits of bytes.
type usage struct{ packed atomic.Uint64 }

const usageBits = 40

func pack(messages, bytes int) uint64 { return uint64(messages)<<usageBits + uint64(bytes) }

// add counts messages, unless that exceeds a bound. A message larger than the
// bounds is admitted when nothing else is held.
func (u *usage) add(messages, bytes, maxMessages, maxBytes int) bool {
	alone := messages <= MaxMessages && u.packed.CompareAndSwap(0, pack(messages, bytes))
	return alone || u.addWithin(messages, bytes, maxMessages, maxBytes)
}

// addWithin counts messages, unless that exceeds a bound.
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

// count counts messages regardless of the bounds.
func (u *usage) count(messages, bytes int) { u.packed.Add(pack(messages, bytes)) }

// load returns the counts.
func (u *usage) load() (messages, bytes int) {
	packed := u.packed.Load()
	return int(packed >> usageBits), int(packed & (1<<usageBits - 1))
}

// remove subtracts messages from the count.
func (u *usage) remove(messages, bytes int) { u.packed.Add(-pack(messages, bytes)) }
