package webpage

import (
	_ "embed"
	"slices"
)

//go:embed base.css
var base []byte

//go:embed narrow.css
var narrow []byte

// Style returns the style sheet of a page: the shared style, the page's own
// rules, which may override it, and the shared rules for narrow screens.
func Style(own []byte) []byte { return slices.Concat(base, own, narrow) }

//go:embed page.js
var script []byte

// Script returns the script of a page: the shared functions and the page's own.
func Script(own []byte) []byte { return slices.Concat(script, own) }

//go:embed icon.svg
var icon []byte

// Icon returns the icon of the pages, an SVG image.
func Icon() []byte { return slices.Clone(icon) }
