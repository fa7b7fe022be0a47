package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core/otelpo"
)

// maxOutboxBytes bounds the outbox. The alert PostofficeOutboxFilling fires at 80 %
// of it.
const maxOutboxBytes = 100_000_000

// flags are the flags of the command line.
type flags struct {
	addr, file string
	maxBytes   int64
	interval   time.Duration
	rate       int
	up, down   time.Duration
}

func parseFlags(args []string) (f flags, err error) {
	set := flag.NewFlagSet("monitoring", flag.ContinueOnError)
	set.StringVar(&f.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	set.StringVar(&f.file, "outbox", "", "`file` of the outbox (default one that is deleted at the end)")
	set.Int64Var(&f.maxBytes, "max-bytes", maxOutboxBytes, "maximum `bytes` in the outbox")
	set.DurationVar(&f.interval, "outbox-interval", otelpo.DefaultOutboxInterval, "minimum interval of queries for the metrics of the outbox")
	set.IntVar(&f.rate, "rate", 0, fmt.Sprintf("`requests` per second that the program sends to itself (default %d with the fake server, 0 with another)", defaultRate))
	set.DurationVar(&f.up, "up", 3*time.Minute, "how long the fake server is up, alternating with -down")
	set.DurationVar(&f.down, "down", 4*time.Minute, "how long the fake server is down; 0 for never")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	switch {
	case f.rate < 0 || f.rate > maxRate:
		return f, fmt.Errorf("-rate: must be between 0 and %d", maxRate)
	case f.up <= 0:
		return f, errors.New("-up: must be positive")
	case f.down < 0:
		return f, errors.New("-down: must not be negative")
	}
	return f, nil
}
