package share

import "time"

const (
	// apartTime is how long messages of a topic do not share requests after the
	// server has accepted them only one by one.
	apartTime = time.Minute
	// maxApart is the number of topics above which old ones are removed.
	maxApart = 256
)

// learn updates the average time of a request, which limits how long calls wait
// for others: with a server that needs most of the timeout for every request,
// there is no time to wait. It ignores requests that ran out of time. The mutex
// must be held.
func (s *Sharer) learn(took time.Duration) {
	if took >= s.config.Timeout {
		return
	}
	if s.latency == 0 {
		s.latency = took
	}
	s.latency += (took - s.latency) / 16
	s.slots.patience = min(s.config.Timeout/patience, max(s.config.Timeout-s.latency*9/8, 0))
}

// isApart reports whether messages of a topic do not share requests. The mutex
// must be held.
func (s *Sharer) isApart(topic string) bool {
	if len(s.apart) == 0 {
		return false
	}
	until, ok := s.apart[topic]
	return ok && time.Now().Before(until)
}

// setApart keeps messages of a topic from sharing requests for apartTime.
func (s *Sharer) setApart(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for name, until := range s.apart {
		if len(s.apart) >= maxApart || now.After(until) {
			delete(s.apart, name)
		}
	}
	s.apart[topic] = now.Add(apartTime)
}
