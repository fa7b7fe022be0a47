// Package webpage holds what the pages of this module share: the page of
// undelivered messages and that of the development server.
package webpage

import (
	_ "embed"
	"net/http"
	"slices"
)

//go:embed base.css
var base []byte

// Style puts the style that the pages share, its colours and type, in front of
// that of one of them.
func Style(own []byte) []byte { return slices.Concat(base, own) }

//go:embed icon.svg
var icon []byte

// Icon is the icon of the pages, an SVG image.
func Icon() []byte { return slices.Clone(icon) }

// SetHeaders sets the headers of every answer: the page may load what its
// policy allows, is not kept, and tells no other site its address.
func SetHeaders(header http.Header, policy string) {
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}
