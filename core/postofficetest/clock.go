package postofficetest

import "time"

// rescueEvery is the interval at which the rescuer calls the origin hosts.
const rescueEvery = 30 * time.Second

// Now returns the time of the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock()
}

// clock returns the time. The caller holds the mutex.
func (s *Server) clock() time.Time {
	if s.settings.realTime {
		return time.Now()
	}
	return s.now
}

// Advance advances the clock. Retries, scheduled messages and rescuer runs that
// become due happen in order and at their time. Advance returns when all attempts
// that it started, and those in progress before, have ended. A consumer that does
// not answer delays it until the timeout of the attempt. Advance has no effect on a
// server with WithRealTime.
func (s *Server) Advance(d time.Duration) {
	if s.settings.realTime {
		return
	}
	s.advancing.Lock()
	defer s.advancing.Unlock()
	s.settle()
	s.mu.Lock()
	end := s.now.Add(d)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		due, rescue, found := s.nextEvent()
		if s.closed || !found || due.After(end) {
			if s.now.Before(end) {
				s.now = end
			}
			s.notify()
			s.mu.Unlock()
			return
		}
		if s.now.Before(due) {
			s.now = due
		}
		s.startDue()
		if rescue {
			s.nextRescue = s.nextRescue.Add(rescueEvery)
		}
		s.mu.Unlock()
		if rescue {
			s.RunRescuer(s.ctx)
		}
		s.settle()
	}
}

// settle waits until all attempts started so far have ended.
func (s *Server) settle() {
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	// Only Close ends the wait early.
	_ = s.follow(s.ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.settledUpTo(started)
	})
}

// nextEvent returns the time of the next event and whether it is a rescuer run;
// false if there is none. The caller holds the mutex.
func (s *Server) nextEvent() (due time.Time, rescue, found bool) {
	if len(s.planned) > 0 {
		due, found = s.planned[0].due, true
	}
	if s.rescues() {
		s.skipRescues()
		if !found || !s.nextRescue.After(due) {
			return s.nextRescue, true, true
		}
	}
	return due, false, found
}

// rescues reports whether the rescuer has a host to call. The caller holds the
// mutex.
func (s *Server) rescues() bool {
	for _, topic := range s.topics {
		if topic.RecoveryEnabled {
			return true
		}
	}
	return false
}

// skipRescues skips past rescuer runs for which there was no host to call. The
// caller holds the mutex.
func (s *Server) skipRescues() {
	if late := s.clock().Sub(s.nextRescue); late > 0 {
		s.nextRescue = s.nextRescue.Add((late + rescueEvery - 1).Truncate(rescueEvery))
	}
}

// followWallClock starts due deliveries by the wall clock until the server is closed.
// Rescuer runs overlap if they last long.
func (s *Server) followWallClock() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticker := time.NewTicker(rescueEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
			s.tasks.Go(func() { s.RunRescuer(s.ctx) })
		case <-s.replanned:
		case <-timer.C:
		}
		s.mu.Lock()
		s.startDue()
		if len(s.planned) > 0 {
			timer.Reset(time.Until(s.planned[0].due))
		}
		s.mu.Unlock()
	}
}

// wallClock converts a timeout of the server to wall clock time.
func (s *Server) wallClock(d time.Duration) time.Duration {
	return time.Duration(d.Seconds() * float64(s.settings.second))
}
