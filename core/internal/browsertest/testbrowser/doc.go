// Package testbrowser drives the headless Chromium that is installed on the machine,
// for tests of pages.
//
//	func TestMain(m *testing.M) { os.Exit(testbrowser.Main(m)) }
//
//	func TestPage(t *testing.T) {
//		page := testbrowser.Open(t, server.URL)
//		page.Type("#name", "orders")
//		page.Press("#save")
//		page.See("#saved", "orders was saved")
//	}
//
// The tests of a process share one browser. The first test that needs it starts it, and
// [Main] stops it. Each test has its own tab, which shares no cookies or storage with
// others.
//
// A test is skipped if Chromium is not installed. With the environment variable
// POSTOFFICE_CI=1 it fails instead.
//
// A tab collects the browser's complaints: exceptions of scripts, violations of the
// content security policy, and resources that fail to load. A test with complaints
// fails when it ends, unless [Page.Tolerate] allows them.
//
// The browser resolves no name except localhost, so a page that loads resources from
// other hosts fails its test.
//
// With goleak, write
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testbrowser.Runner{M: m}) }
//
// which checks for leaks after the browser has stopped.
package testbrowser
