// Package pagetest has what the tests of the pages share, with and without a browser:
// an outbox with messages in each state, a consumer, and a hostile text.
package pagetest

// Hostile is a text with HTML and control characters.
const Hostile = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\u202eexe.gpj\u2066'\"}]"
