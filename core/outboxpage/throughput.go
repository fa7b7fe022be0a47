package outboxpage

import (
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// Dimensions of the chart, in its own units: the page scales it.
const (
	hourMinutes = 60
	barStep     = 10 // from one minute to the next
	barHeight   = 60
	// barLeast is the minimum height of a part that is not empty.
	barLeast = 2
)

// hourBody is the throughput of the last hour.
type hourBody struct {
	Delivered, Stored, Dead int
	Bars                    []barBody
	// Peak is the largest number of messages in a minute, for the scale.
	Peak int
	// Since is when counting began; its text is empty if that was more than an hour
	// ago.
	Since webpage.Moment
}

// barBody is a minute of the chart: parts on top of each other.
type barBody struct {
	// Title begins with the time of Begin, formatted.
	Begin, Title string
	Parts        []barPart
}

// barPart is a rectangle of one colour.
type barPart struct {
	Class      string
	X, Y, High float64
}

// lastHour makes the chart from a client's counts.
func lastHour(counted []core.Minute, now time.Time) hourBody {
	var body hourBody
	for _, minute := range counted {
		body.Delivered += minute.Delivered
		body.Stored += minute.Stored
		body.Dead += minute.Dead
		body.Peak = max(body.Peak, minute.Delivered+minute.Stored+minute.Dead)
	}
	if first := counted[0].Begin; len(counted) < hourMinutes {
		body.Since = momentOf(first, now, ago(now.Sub(first)))
	}
	for i, minute := range counted {
		if body.Peak == 0 || minute.Delivered+minute.Stored+minute.Dead == 0 {
			continue
		}
		begin := minute.Begin.In(now.Location())
		bar := barBody{Begin: begin.Format(time.RFC3339), Title: fmt.Sprintf("%s: %s delivered", begin.Format("15:04"), webpage.Grouped(minute.Delivered))}
		x, top := float64((hourMinutes-len(counted)+i)*barStep), float64(barHeight)
		for _, part := range []struct {
			class    string
			messages int
		}{{"delivered", minute.Delivered}, {"stored", minute.Stored}, {"dead", minute.Dead}} {
			if part.messages == 0 {
				continue
			}
			if part.class != "delivered" {
				bar.Title += fmt.Sprintf(", %s %s", webpage.Grouped(part.messages), part.class)
			}
			high := max(float64(part.messages)*barHeight/float64(body.Peak), barLeast)
			top = max(top-high, 0)
			bar.Parts = append(bar.Parts, barPart{Class: part.class, X: x, Y: top, High: high})
		}
		body.Bars = append(body.Bars, bar)
	}
	return body
}
