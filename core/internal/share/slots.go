package share

import "time"

// slots counts requests in progress. A request that takes long no longer
// counts: it may hang, or the server may be slow with everything. If it
// counted, calls would wait although the server has capacity for them.
type slots struct {
	limit    int           // not positive for none
	patience time.Duration // how long a request counts
	counted  int
	// list holds the requests in the order in which they began. first is the
	// number of the first one.
	list  []slot
	first int
}

// slot is a request.
type slot struct {
	begin time.Time
	ended bool
}

// free reports whether another request may begin.
func (s *slots) free() bool {
	if s.limit <= 0 || s.counted < s.limit {
		return true
	}
	for now := time.Now(); len(s.list) > 0 && now.Sub(s.list[0].begin) >= s.patience; {
		s.drop()
	}
	return s.counted < s.limit
}

// begin counts a request and returns its number.
func (s *slots) begin() int {
	if s.limit <= 0 {
		return 0
	}
	s.counted++
	s.list = append(s.list, slot{begin: time.Now()})
	return s.first + len(s.list) - 1
}

// end ends a request.
func (s *slots) end(number int) {
	if s.limit <= 0 || number < s.first {
		return // it no longer counts
	}
	s.counted--
	s.list[number-s.first].ended = true
	for len(s.list) > 0 && s.list[0].ended {
		s.drop()
	}
}

// drop removes the oldest request.
func (s *slots) drop() {
	if !s.list[0].ended {
		s.counted--
	}
	s.list = s.list[1:]
	s.first++
}
