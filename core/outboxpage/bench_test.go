package outboxpage

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// BenchmarkList times pages of the list with 100,000 messages and the same pages with
// 1,000, in turns. The ratio compares the medians.
func BenchmarkList(b *testing.B) {
	sizes := [...]int{1000, 100_000}
	var apps [len(sizes)]*app
	for i, size := range sizes {
		apps[i] = start(b)
		for chunk := range slices.Chunk(waiting(size), 1000) {
			require.NoError(b, apps[i].store.Insert(b.Context(), 0, chunk...))
		}
	}
	for _, page := range []struct {
		name    string
		address func(size int) string
	}{
		{"first", func(int) string { return "" }},
		{"middle", func(size int) string { return "?after=" + id(size/2) }},
		{"last", func(size int) string { return "?after=" + id(size-pageRows-1) }},
		{"topic", func(size int) string { return "?topic=rare&after=" + id(size/4) }},
		{"dead", func(int) string { return "?state=dead" }},
		{"payloads", func(size int) string { return "?payloads=show&after=" + id(size/2) }},
	} {
		b.Run(page.name, func(b *testing.B) {
			var times [len(sizes)][]time.Duration
			for b.Loop() {
				for i, a := range apps {
					began := time.Now()
					if reply := a.do(http.MethodGet, page.address(sizes[i]), nil); reply.status != http.StatusOK {
						b.Fatal(reply.status)
					}
					times[i] = append(times[i], time.Since(began))
				}
			}
			median := func(times []time.Duration) float64 {
				slices.Sort(times)
				return float64(times[len(times)/2])
			}
			b.ReportMetric(median(times[1])/median(times[0]), "100k/1k")
		})
	}
}

// waiting returns n messages. One in ten is dead, and one in ten has another topic.
func waiting(n int) []outbox.Record {
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = outbox.Record{ID: id(i), Topic: "orders", Payload: json.RawMessage(`{"order":1}`), Attributes: json.RawMessage(`{}`)}
		switch i % 10 {
		case 7:
			records[i].State = outbox.Dead
		case 8:
			records[i].Topic = "rare"
		}
	}
	return records
}
