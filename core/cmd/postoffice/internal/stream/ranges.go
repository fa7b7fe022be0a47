package stream

import (
	"fmt"
	"strings"
)

// maxRanges is the maximum number of ranges that are kept and shown.
const maxRanges = 100

// Ranges are line numbers in ascending order; consecutive numbers form a range.
type Ranges struct {
	list []lineRange
	// count is the number of lines, including the ones that are not kept.
	count int
}

type lineRange struct{ from, to int }

func (r *Ranges) add(number int) {
	r.count++
	if n := len(r.list); n > 0 && r.list[n-1].to == number-1 {
		r.list[n-1].to = number
	} else if n < maxRanges {
		r.list = append(r.list, lineRange{number, number})
	}
}

// Count returns the number of lines.
func (r *Ranges) Count() int { return r.count }

// Strings returns the first 100 ranges, such as "7" and "9-20".
func (r *Ranges) Strings() []string {
	texts := make([]string, len(r.list))
	for i, one := range r.list {
		texts[i] = fmt.Sprint(one.from)
		if one.to > one.from {
			texts[i] = fmt.Sprintf("%d-%d", one.from, one.to)
		}
	}
	return texts
}

// String returns the first ten ranges, such as "7, 9-20, …".
func (r *Ranges) String() string {
	const most = 10
	texts := r.Strings()
	if len(texts) > most {
		texts = append(texts[:most], "…")
	}
	return strings.Join(texts, ", ")
}
