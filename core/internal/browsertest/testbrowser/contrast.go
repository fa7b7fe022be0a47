package testbrowser

import _ "embed"

//go:embed contrast.js
var contrastScript string

// Contrast is the contrast of a text.
type Contrast struct {
	// Text is the beginning of the text, Element the element that contains it.
	Text    string `json:"text"`
	Element string `json:"element"`
	// Ratio is the contrast of the text with its background, as WCAG 2 defines it:
	// 1 to 21. Needed is the minimum of level AA: 4.5, or 3 for large text.
	Ratio  float64 `json:"ratio"`
	Needed float64 `json:"needed"`
}

// Contrasts computes the contrast of each visible text and field of the page from the
// rendered colours, and the contrast of the border of each control, which needs 3. It
// ignores background images.
func (p *Page) Contrasts() []Contrast {
	p.tb.Helper()
	return Eval[[]Contrast](p, contrastScript)
}
