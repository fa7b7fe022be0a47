package stream

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// redraw is how often the bar is drawn anew.
const redraw = 100 * time.Millisecond

// Bar is a line on a terminal that is drawn anew. A nil Bar draws nothing.
type Bar struct{ bar *progressbar.ProgressBar }

// NewBar makes a bar for an input of a number of bytes, zero or below if that
// is not known.
func NewBar(out io.Writer, bytes int64) *Bar {
	if bytes <= 0 {
		bytes = -1
	}
	return &Bar{bar: progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(describe(0)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(bytes > 0),
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
	b.bar.Describe(describe(messages))
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

func describe(messages int) string { return fmt.Sprintf("%d accepted", messages) }
