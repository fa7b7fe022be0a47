package postofficetest

import "sync"

// tasks counts the server's own goroutines. Unlike a sync.WaitGroup it can be used
// alternately inside and outside bubbles of testing/synctest.
type tasks struct {
	mu      sync.Mutex
	running int
	idle    chan struct{} // closed when nothing runs; nil when nobody waits
}

// Go runs a function in a new goroutine.
func (t *tasks) Go(function func()) {
	t.mu.Lock()
	t.running++
	t.mu.Unlock()
	go func() {
		defer t.done()
		function()
	}()
}

func (t *tasks) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if t.running == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// Wait returns when no goroutine is running.
func (t *tasks) Wait() {
	t.mu.Lock()
	if t.running == 0 {
		t.mu.Unlock()
		return
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	<-idle
}
