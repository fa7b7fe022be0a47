package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// loadResult tells how an app took a load.
type loadResult struct {
	// Requests is how many requests were sent.
	Requests int
	// Seconds is how long all requests took together.
	Seconds float64
	// P50 and P99 are percentiles of the time of a request in nanoseconds, and
	// Max is the longest one.
	P50, P99, Max float64
}

// load sends requests to an app over a number of connections that are kept
// alive, each with one request at a time, until all are answered or the time is
// over. Any answer but 200 is an error.
func load(address string, connections, requests int, limit time.Duration) (loadResult, error) {
	errs := make([]error, connections)
	times := make([][]time.Duration, connections)
	var group sync.WaitGroup
	start := time.Now()
	for i := range connections {
		group.Go(func() {
			times[i], errs[i] = loadOne(address, share(requests, connections, i), start.Add(limit))
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return loadResult{}, err
		}
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	return loadResult{Requests: len(all), Seconds: elapsed.Seconds(), P50: percentile(all, 50), P99: percentile(all, 99), Max: percentile(all, 100)}, nil
}

// loadOne sends requests over one connection and returns their times. None
// begins after the given time.
func loadOne(address string, requests int, until time.Time) (times []time.Duration, err error) {
	if requests == 0 {
		return nil, nil
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	request := []byte("GET / HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
	for range requests {
		start := time.Now()
		if !start.Before(until) {
			break
		}
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return nil, err
		}
		_ = response.Body.Close()
		times = append(times, time.Since(start))
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the app answered %s", response.Status)
		}
	}
	return times, nil
}
