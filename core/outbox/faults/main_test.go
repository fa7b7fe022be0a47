//go:build unix

package faults

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
)

// TestMain runs the tests, or the app under test in a process that a test
// has started.
func TestMain(m *testing.M) {
	if text := os.Getenv(appVariable); text != "" {
		if err := runApp(text); err != nil {
			fmt.Fprintln(os.Stderr, "app under test:", err)
			os.Exit(1)
		}
		return
	}
	if err := moreAtATime(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(testdb.Runner{M: m})
}

// moreAtATime raises the number of tests that run at a time, because they wait most of
// the time. In CI other packages keep the processors busy.
func moreAtATime() error {
	const name, number = "test.parallel", 4
	flag.Parse()
	chosen := os.Getenv("POSTOFFICE_CI") != ""
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == name })
	if chosen || runtime.GOMAXPROCS(0) >= number {
		return nil
	}
	return flag.Set(name, strconv.Itoa(number))
}
