package devserver

import (
	"io"
	"net/http"
	"time"
)

// calm is the minimum time between two events.
const calm = 250 * time.Millisecond

// events sends a server-sent event to a page after each change. The page then fetches
// itself again.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	controller := http.NewResponseController(w)
	ctx := r.Context()
	timer := time.NewTimer(0)
	defer timer.Stop()
	// The wait ends with the connection or the server.
	_ = a.operator.Follow(ctx, func() bool {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return true
		}
		timer.Reset(calm)
		if _, err := io.WriteString(w, "data: changed\n\n"); err != nil {
			return true
		}
		return controller.Flush() != nil
	})
}
