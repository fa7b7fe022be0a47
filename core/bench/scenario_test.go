package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scenario is a load that different sides, the floor first, are put to.
type scenario struct {
	name  string
	sides []side
}

// side is one way to do the work of a scenario.
type side struct {
	name string
	// open sets up what the work needs, which is not measured.
	open func(tb testing.TB) job
}

// job is what a side was set up for.
type job struct {
	// run does the work for n messages and fails if one is lost.
	run func(tb testing.TB, n int) figures
	// close checks what run cannot, and takes down what was set up; nil for
	// nothing.
	close func(tb testing.TB)
}

// end closes the job.
func (j job) end(tb testing.TB) {
	if j.close != nil {
		j.close(tb)
	}
}

// benchmark runs scenarios, the sides of each one after the other.
func benchmark(b *testing.B, scenarios []scenario) {
	for _, sc := range scenarios {
		b.Run(sc.name, func(b *testing.B) {
			for _, s := range sc.sides {
				job := s.open(b)
				b.Run("side="+s.name, func(b *testing.B) {
					b.ResetTimer()
					result := job.run(b, b.N)
					b.StopTimer()
					for unit, value := range result {
						b.ReportMetric(value, unit)
					}
				})
				job.end(b)
			}
		})
	}
}

// try runs every side of scenarios with a few messages.
func try(t *testing.T, scenarios []scenario) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			for _, s := range sc.sides {
				t.Run(s.name, func(t *testing.T) {
					job := s.open(t)
					for _, n := range []int{1, 131} {
						result := job.run(t, n)
						require.NotEmpty(t, result)
						for unit, value := range result {
							require.Positive(t, value, unit)
						}
					}
					job.end(t)
				})
			}
		})
	}
}

func TestPublish(t *testing.T)     { try(t, publishScenarios(t)) }
func TestPublishBulk(t *testing.T) { try(t, bulkScenarios(t, 600)) }
func TestScheduled(t *testing.T)   { try(t, scheduledScenarios(startHelper(t))) }
func TestProtocols(t *testing.T)   { try(t, protocolScenarios(t)) }
func TestMemory(t *testing.T)      { try(t, memoryScenarios(startHelper(t))) }
func TestMemoryPaced(t *testing.T) { try(t, pacedScenarios(startHelper(t))) }
func TestHandler(t *testing.T)     { try(t, handlerScenarios(startHelper(t))) }
func TestFlushOn(t *testing.T)     { try(t, flushOnScenarios(startHelper(t))) }
func TestOutage(t *testing.T) {
	try(t, outageScenarios(startHelper(t), 100*time.Millisecond, "refused"))
}
func TestDurable(t *testing.T) { try(t, durableScenarios(startHelper(t))) }

func BenchmarkPublish(b *testing.B)     { benchmark(b, publishScenarios(b)) }
func BenchmarkPublishBulk(b *testing.B) { benchmark(b, bulkScenarios(b, 10_000)) }
func BenchmarkScheduled(b *testing.B)   { benchmark(b, scheduledScenarios(startHelper(b))) }
func BenchmarkProtocols(b *testing.B)   { benchmark(b, protocolScenarios(b)) }
func BenchmarkMemory(b *testing.B)      { benchmark(b, memoryScenarios(startHelper(b))) }
func BenchmarkMemoryPaced(b *testing.B) { benchmark(b, pacedScenarios(startHelper(b))) }
func BenchmarkHandler(b *testing.B)     { benchmark(b, handlerScenarios(startHelper(b))) }
func BenchmarkFlushOn(b *testing.B)     { benchmark(b, flushOnScenarios(startHelper(b))) }
func BenchmarkOutage(b *testing.B) {
	benchmark(b, outageScenarios(startHelper(b), 4*time.Second, "refused", "hanging"))
}
func BenchmarkDurable(b *testing.B) { benchmark(b, durableScenarios(startHelper(b))) }
