package relay

import "time"

// burst is the fraction of a second, as a divisor, whose rows a rate admits at
// once.
const burst = 4

// rate limits the rows that are claimed per second. The zero rate has no limit.
// It belongs to one goroutine.
type rate struct {
	perSecond float64
	left      float64 // number of rows admitted now
	at        time.Time
}

func newRate(perSecond int) rate {
	r := rate{perSecond: float64(perSecond), at: time.Now()}
	r.left = r.atOnce()
	return r
}

// atOnce returns how many rows are admitted at once after a pause.
func (r *rate) atOnce() float64 { return max(r.perSecond/burst, 1) }

// limited reports whether there is a limit.
func (r *rate) limited() bool { return r.perSecond > 0 }

// admits returns how many rows may be claimed now, at most n. It returns zero
// while only few are admitted, to avoid small claims.
func (r *rate) admits(n int) int {
	if !r.limited() {
		return n
	}
	now := time.Now()
	r.left = min(r.left+now.Sub(r.at).Seconds()*r.perSecond, r.atOnce())
	r.at = now
	if r.left < r.enough() {
		return 0
	}
	return min(n, int(r.left))
}

// enough is the minimum number of rows that are worth the cost of a claim.
func (r *rate) enough() float64 { return max(r.atOnce()/2, 1) }

// wait returns how long it takes until rows are admitted again.
func (r *rate) wait() time.Duration {
	missing := r.enough() - r.left
	if !r.limited() || missing <= 0 {
		return 0
	}
	return time.Duration(missing/r.perSecond*float64(time.Second)) + time.Microsecond
}

// spend counts claimed rows.
func (r *rate) spend(n int) { r.left -= float64(n) }
