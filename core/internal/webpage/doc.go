// Package webpage is the common part of the outbox page and the page of the
// development server: style, headers, rendering of templates, and formatting of
// untrusted text, times and numbers.
package webpage
