package stream

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// redraw is the minimum interval between two redraws.
	redraw = 100 * time.Millisecond
	// window is the time over which the rate of messages is measured.
	window = time.Second
)

// Bar is a progress bar on a terminal. A nil Bar draws nothing.
type Bar struct {
	bar  *progressbar.ProgressBar
	rate rate
}

// rate measures messages per second over the last full window.
type rate struct {
	since    time.Time
	messages int // at that time
	last     float64
	measured bool
}

// at returns the rate, given the number of messages accepted so far. Before the first
// full window it is the rate since the beginning.
func (r *rate) at(now time.Time, messages int) float64 {
	passed := now.Sub(r.since)
	if passed <= 0 {
		return r.last
	}
	current := float64(messages-r.messages) / passed.Seconds()
	switch {
	case passed >= window:
		r.since, r.messages, r.last, r.measured = now, messages, current, true
	case !r.measured:
		r.last = current
	}
	return r.last
}

// NewBar returns a bar for an input of the given size in bytes; zero or less if the size
// is unknown.
func NewBar(out io.Writer, bytes int64) *Bar {
	if bytes <= 0 {
		bytes = -1
	}
	return &Bar{rate: rate{since: time.Now()}, bar: progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(describe(0, 0)),
		progressbar.OptionSetPredictTime(bytes > 0),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(redraw),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSpinnerType(14),
		// The spinner turns with the progress, not in a goroutine of its own.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)}
}

// Set shows the number of accepted messages and of processed bytes of the input.
func (b *Bar) Set(messages int, bytes int64) {
	if b == nil {
		return
	}
	_ = b.bar.Set64(bytes) // the terminal may be closed
	b.bar.Describe(describe(messages, b.rate.at(time.Now(), messages)))
}

// Clear removes the bar until the next redraw, so that other output can use the line.
func (b *Bar) Clear() {
	if b == nil {
		return
	}
	_ = b.bar.Clear()
}

// Close removes the bar permanently.
func (b *Bar) Close() {
	if b == nil {
		return
	}
	_ = b.bar.Exit()
	_ = b.bar.Clear()
}

func describe(messages int, rate float64) string {
	return fmt.Sprintf("%d accepted, %.0f messages/s", messages, rate)
}
