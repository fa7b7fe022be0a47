package stream

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// redraw is how often the bar is drawn anew.
	redraw = 100 * time.Millisecond
	// window is the time over which the rate of messages is measured.
	window = time.Second
)

// Bar is a line on a terminal that is drawn anew. A nil Bar draws nothing.
type Bar struct {
	bar  *progressbar.ProgressBar
	rate rate
}

// rate measures messages a second, over the last full window.
type rate struct {
	since    time.Time
	messages int // at that time
	last     float64
	measured bool
}

// at returns the rate at a time when so many messages were accepted. It is that
// since the beginning until a window has passed.
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

// NewBar makes a bar for an input of a number of bytes, zero or below if that
// is not known.
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
		// Without a goroutine that turns the spinner: it turns as work goes on.
		progressbar.OptionSetSpinnerChangeInterval(0),
	)}
}

// Set shows how many messages were accepted and how many bytes of the input
// are done with.
func (b *Bar) Set(messages int, bytes int64) {
	if b == nil {
		return
	}
	_ = b.bar.Set64(bytes) // a terminal that is gone is no concern of the work
	b.bar.Describe(describe(messages, b.rate.at(time.Now(), messages)))
}

// Clear takes the bar away until it is drawn anew, so that what is written
// next has the line.
func (b *Bar) Clear() {
	if b == nil {
		return
	}
	_ = b.bar.Clear()
}

// Close takes the bar away for good.
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
