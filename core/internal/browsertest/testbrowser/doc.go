// Package testbrowser drives a headless Chromium, the one that is installed on
// the machine, for tests of pages.
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
// The tests of a process share one browser, which is started when the first of
// them asks for it and stopped, by its process id, by [Main]. Each test has a
// tab of its own that shares no cookies or storage with others.
//
// A test is skipped where no Chromium is installed. With the environment
// variable POSTOFFICE_CI=1 it fails instead.
//
// A tab collects what the browser complains about: exceptions of scripts,
// violations of the content security policy, resources that fail to load. A
// test whose page has complaints fails when it ends, unless it calls
// [Page.Tolerate].
//
// The browser resolves no name but localhost, so a page that would load
// something from elsewhere fails its test.
//
// With goleak, write
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testbrowser.Runner{M: m}) }
//
// which checks after the browser has stopped.
package testbrowser
