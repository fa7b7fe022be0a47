package testbrowser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	logs "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is the timeout of a step, after which the test fails.
const patience = 30 * time.Second

// Page is a tab. Its methods are steps of a test: they wait for their element or
// condition, and fail the test after 30 seconds. Call them from the goroutine of the
// test.
type Page struct {
	tb  testing.TB
	ctx context.Context //nolint:containedctx // it has the lifetime of the tab

	mu         sync.Mutex
	complaints []string
	tolerated  []string
}

// New opens an empty tab, 1280 by 800 pixels, which is closed when the test
// ends.
func New(tb testing.TB) *Page {
	tb.Helper()
	if !usesMain.Load() {
		tb.Fatal("testbrowser: TestMain of this package must call testbrowser.Main, which stops the browser")
	}
	parent, err := shared.get()
	need(tb, err)
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	tb.Cleanup(cancel)
	p := &Page{tb: tb, ctx: ctx}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		tb.Fatalf("testbrowser: opening a tab: %v", err)
	}
	tb.Cleanup(p.judge)
	p.Size(1280, 800)
	return p
}

// Open opens a tab and loads a page in it.
func Open(tb testing.TB, url string) *Page {
	tb.Helper()
	p := New(tb)
	p.Go(url)
	return p
}

// hear collects complaints.
func (p *Page) hear(event any) {
	var text string
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		text = event.ExceptionDetails.Text
		if exception := event.ExceptionDetails.Exception; exception != nil {
			text += " " + exception.Description
		}
	case *logs.EventEntryAdded:
		if event.Entry.Level != logs.EntryLevelError && event.Entry.Level != logs.EntryLevelWarning {
			return
		}
		text = event.Entry.Text + " " + event.Entry.URL
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, text)
}

// Complaints returns the browser's complaints so far, except tolerated ones.
func (p *Page) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.complaints), func(complaint string) bool {
		return slices.ContainsFunc(p.tolerated, func(part string) bool { return strings.Contains(complaint, part) })
	})
}

// Tolerate ignores complaints that contain the text.
func (p *Page) Tolerate(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tolerated = append(p.tolerated, part)
}

func (p *Page) judge() {
	for _, complaint := range p.Complaints() {
		p.tb.Errorf("testbrowser: the page complained: %s", complaint)
	}
}

// Do runs actions of chromedp in the tab. It retries them if an element belongs to a
// page that the tab is leaving. what describes the actions in error messages.
func (p *Page) Do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		err := chromedp.Do(ctx, steps...)
		if err == nil {
			return
		}
		if !left(err) || ctx.Err() != nil {
			p.tb.Fatalf("testbrowser: %s: %v", what, err)
		}
	}
}

// left reports whether an error is about an element of a page that the tab has left.
func left(err error) bool {
	return strings.Contains(err.Error(), "node with given id")
}

// Go loads a page.
func (p *Page) Go(url string) {
	p.tb.Helper()
	p.Do("loading "+url, chromedp.Navigate(url))
}

// Before runs a script in each page that is loaded afterwards, before the page's own
// scripts.
func (p *Page) Before(script string) {
	p.tb.Helper()
	p.Do("adding a script", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return err
	}))
}

// Reload reloads the page.
func (p *Page) Reload() {
	p.tb.Helper()
	p.Do("reloading", chromedp.Reload())
}

// Eval evaluates a JavaScript expression in the page. It also works in a tab without
// JavaScript.
func Eval[T any](p *Page, expression string) T {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.tb.Fatalf("testbrowser: evaluating %s: %v", expression, err)
	}
	return value
}

// Until waits until a JavaScript expression is true. The page may be reloaded while
// Until waits.
func (p *Page) Until(expression string) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	const interval = 20 * time.Millisecond
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		// While the tab leaves a page, the evaluation fails; it is retried in the next one.
		held, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if held {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			p.tb.Fatalf("testbrowser: waiting in vain for %s (last error: %v); the page is\n%s", expression, err, p.text())
		}
	}
}

// text returns the text of the page, for a failing test.
func (p *Page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	return text
}

// See waits until the text of an element contains the given text.
func (p *Page) See(selector, text string) {
	p.tb.Helper()
	p.Until(fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

// Gone waits until no element matches the selector.
func (p *Page) Gone(selector string) {
	p.tb.Helper()
	p.Until(fmt.Sprintf("document.querySelector(%q) === null", selector))
}

// Text returns the visible text of an element.
func (p *Page) Text(selector string) string {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS(selector)))
	if err != nil {
		p.tb.Fatalf("testbrowser: reading %s: %v", selector, err)
	}
	return text
}

// Press clicks an element with the mouse.
func (p *Page) Press(selector string) {
	p.tb.Helper()
	p.Do("clicking "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Type replaces the content of a field.
func (p *Page) Type(selector, text string) {
	p.tb.Helper()
	p.Do("waiting for "+selector, chromedp.Focus(chromedp.CSS(selector)))
	Eval[struct{}](p, fmt.Sprintf("document.querySelector(%q).select()", selector))
	if text == "" {
		text = kb.Delete
	}
	p.Do("typing into "+selector, chromedp.KeyEvent(text))
}

// Choose selects the option with the value in a select element.
func (p *Page) Choose(selector, value string) {
	p.tb.Helper()
	p.Do("choosing in "+selector, chromedp.SetValue(chromedp.CSS(selector), value))
}

// Keys presses keys one after the other in the focused element: text, or constants of
// chromedp's package kb.
func (p *Page) Keys(keys string) {
	p.tb.Helper()
	p.Do("pressing keys", chromedp.KeyEvent(keys))
}

// Tab presses the Tab key until an element has the focus, and fails the test after most
// presses.
func (p *Page) Tab(selector string, most int) {
	p.tb.Helper()
	focused := fmt.Sprintf("document.activeElement?.matches(%q) ?? false", selector)
	for range most {
		p.Keys(kb.Tab)
		if Eval[bool](p, focused) {
			return
		}
	}
	p.tb.Fatalf("testbrowser: %s has no focus after pressing the tabulator key %d times", selector, most)
}

// Size sets the size of the tab in CSS pixels.
func (p *Page) Size(width, height int64) {
	p.tb.Helper()
	p.Do("setting the size", chromedp.EmulateViewport(width, height))
}

// Dark makes the tab prefer a dark or a light colour scheme.
func (p *Page) Dark(dark bool) {
	p.tb.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	p.Do("setting the colour scheme", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	}))
}

// TimeZone sets the time zone of the tab, such as "Asia/Kathmandu".
func (p *Page) TimeZone(name string) {
	p.tb.Helper()
	p.Do("setting the time zone", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	}))
}

// WithoutJavaScript disables the scripts of pages that are loaded afterwards. [Eval] and
// [Page.Until] still work.
func (p *Page) WithoutJavaScript() {
	p.tb.Helper()
	p.Do("turning JavaScript off", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}

// Overflows reports whether the page is wider than the tab, so that it scrolls
// horizontally.
func (p *Page) Overflows() bool {
	p.tb.Helper()
	return Eval[bool](p, "document.documentElement.scrollWidth > window.innerWidth")
}

// screenshots is the environment variable that names the directory of [Page.Picture].
const screenshots = "POSTOFFICE_TEST_SCREENSHOTS"

// Picture writes a screenshot of the whole page as NAME.png to the directory that the
// environment variable POSTOFFICE_TEST_SCREENSHOTS names. If the variable is not set,
// Picture does nothing.
func (p *Page) Picture(name string) {
	p.tb.Helper()
	if directory := os.Getenv(screenshots); directory != "" {
		p.Screenshot(filepath.Join(directory, name+".png"))
	}
}

// PictureOfView is [Page.Picture] of the part that is visible without scrolling.
func (p *Page) PictureOfView(name string) {
	p.tb.Helper()
	if directory := os.Getenv(screenshots); directory != "" {
		p.shoot(filepath.Join(directory, name+".png"), chromedp.CaptureScreenshot())
	}
}

// Screenshot writes a screenshot of the whole page to a PNG file.
func (p *Page) Screenshot(file string) {
	p.tb.Helper()
	p.shoot(file, chromedp.FullScreenshot(100))
}

func (p *Page) shoot(file string, what chromedp.Action[[]byte]) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, what)
	if err == nil {
		err = os.WriteFile(file, picture, 0o600)
	}
	if err != nil {
		p.tb.Fatalf("testbrowser: taking a picture: %v", err)
	}
}
