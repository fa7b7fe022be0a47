package testbrowser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// candidates are the names of Chromium's executable.
var candidates = []string{"chromium", "chromium-browser", "google-chrome"}

// closing is how long the browser may take to exit.
const closing = 10 * time.Second

// Runner runs a package's tests like [Main], for functions that need a value with a Run
// method, such as goleak.VerifyTestMain.
type Runner struct{ M *testing.M }

// Run calls [Main].
func (r Runner) Run() int { return Main(r.M) }

// usesMain means that Main will stop the browser.
var usesMain atomic.Bool

// Main runs a package's tests, stops the browser that they share, and returns the exit
// code. Call it from TestMain in every package that uses [Open].
func Main(m *testing.M) int {
	usesMain.Store(true)
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testbrowser:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

// browser is a browser that is started on first use.
type browser struct {
	once   sync.Once
	ctx    context.Context //nolint:containedctx // it has the lifetime of the browser
	cancel context.CancelFunc
	err    error
}

var shared = &browser{}

// errMissing means that Chromium is not installed.
var errMissing = errors.New("needs Chromium, which is not installed")

// program returns the path of the browser.
func program(names []string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errMissing
}

// get returns the context of the browser, the parent of the contexts of tabs.
func (b *browser) get() (context.Context, error) {
	b.once.Do(func() {
		path, err := program(candidates)
		if err != nil {
			b.err = err
			return
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path),
			chromedp.DisableGPU,
			chromedp.Flag("disable-component-update", true),
			chromedp.Flag("no-proxy-server", true),
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1 , EXCLUDE [::1]"),
			chromedp.Flag("lang", "en"),
		)
		if os.Getuid() == 0 {
			options = append(options, chromedp.NoSandbox)
		}
		allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(allocator)
		b.ctx, b.cancel = ctx, func() { cancel(); stop() }
		if b.err = chromedp.Do(ctx); b.err != nil {
			b.err = fmt.Errorf("starting %s: %w", path, b.err)
		}
	})
	return b.ctx, b.err
}

// stop stops the browser, kills it if it does not exit in time, and waits for it.
func (b *browser) stop() error {
	if b.cancel == nil {
		return nil
	}
	defer b.cancel()
	if b.err != nil {
		return nil // already reported, and no browser is running
	}
	ctx, cancel := context.WithTimeout(b.ctx, closing)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopping the browser: %w", err)
	}
	return nil
}

// Need skips or fails the test if no browser is installed, as [New] does. It is for
// tests with an expensive setup before they open a page.
func Need(tb testing.TB) {
	tb.Helper()
	_, err := program(candidates)
	need(tb, err)
}

// need fails the test if there is an error. It skips the test if no browser is
// installed, unless POSTOFFICE_CI=1.
func need(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case !errors.Is(err, errMissing):
		tb.Fatalf("testbrowser: %v", err)
	case os.Getenv("POSTOFFICE_CI") == "1":
		tb.Fatalf("testbrowser: %v; with POSTOFFICE_CI=1 it must be installed", err)
	default:
		tb.Skipf("testbrowser: %v", err)
	}
}
