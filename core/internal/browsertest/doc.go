// Package browsertest is the root of a module that tests the pages of this project
// in Chromium: the outbox page and the page of "postoffice dev". It is a module of its
// own so that the go.mod of apps that use the client does not contain the browser driver.
//
//	cd core/internal/browsertest && go test ./...
//
// Without Chromium the tests are skipped; with POSTOFFICE_CI=1 they fail. With
// POSTOFFICE_TEST_SCREENSHOTS=DIRECTORY they write screenshots of the pages there.
package browsertest
