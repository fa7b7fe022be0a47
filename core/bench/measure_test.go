package bench

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// figures are what a run has cost, by unit.
type figures map[string]float64

// measure runs some work on a number of messages and tells what it has cost
// this process.
func measure(tb testing.TB, messages int, work func()) figures {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	processor, err := processorTime()
	require.NoError(tb, err)
	start := time.Now()
	work()
	elapsed := time.Since(start)
	used, err := processorTime()
	require.NoError(tb, err)
	runtime.ReadMemStats(&after)
	n := float64(messages)
	return figures{
		"ns/op":      float64(elapsed.Nanoseconds()) / n,
		"msgs/s":     n / elapsed.Seconds(),
		"cpu-ns/msg": float64((used - processor).Nanoseconds()) / n,
		"allocs/msg": float64(after.Mallocs-before.Mallocs) / n,
		"B/msg":      float64(after.TotalAlloc-before.TotalAlloc) / n,
	}
}

// spread shares n numbers among several goroutines, each of which gets count
// of them, beginning with first.
func spread(n, concurrency int, work func(worker, first, count int)) {
	var group sync.WaitGroup
	first := 0
	for worker := range concurrency {
		begin, count := first, share(n, concurrency, worker)
		group.Go(func() { work(worker, begin, count) })
		first += count
	}
	group.Wait()
}

// share is how many of n things the i-th of several gets.
func share(n, of, i int) int {
	if i < n%of {
		return n/of + 1
	}
	return n / of
}

// percentile returns the value, in nanoseconds, that so many percent of the
// sorted times do not exceed; zero when there are none.
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := math.Ceil(float64(len(sorted)*percent) / 100)
	return float64(sorted[max(int(rank)-1, 0)].Nanoseconds())
}

// sampled is how many calls there are for each whose time is taken, where a call
// takes less than a microsecond or two.
const sampled = 8

// stopwatch takes the times of a sample of the calls of several goroutines.
type stopwatch struct {
	every int
	times [][]time.Duration
}

// newStopwatch returns a stopwatch that takes the time of one call of so many.
func newStopwatch(concurrency, calls, every int) *stopwatch {
	w := &stopwatch{every: every, times: make([][]time.Duration, concurrency)}
	for i := range w.times {
		w.times[i] = make([]time.Duration, 0, calls/concurrency/every+2)
	}
	return w
}

// call makes a worker's i-th call, and takes its time if it is of the sample.
func (w *stopwatch) call(worker, i int, call func()) {
	if i%w.every != 0 {
		call()
		return
	}
	start := time.Now()
	call()
	w.times[worker] = append(w.times[worker], time.Since(start))
}

// add adds percentiles.
func (w *stopwatch) add(to figures) {
	all := slices.Concat(w.times...)
	slices.Sort(all)
	to["p50-ns"] = percentile(all, 50)
	to["p99-ns"] = percentile(all, 99)
}
