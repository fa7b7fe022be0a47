package testbrowser

import _ "embed"

//go:embed contrast.js
var contrastScript string

// Contrast is how well a text can be read.
type Contrast struct {
	// Text is the beginning of the text, Element what it stands in.
	Text    string `json:"text"`
	Element string `json:"element"`
	// Ratio is the contrast of the text with what is behind it, as WCAG 2
	// defines it: 1 to 21. Needed is what its level AA asks for: 4.5, or 3
	// for large text.
	Ratio  float64 `json:"ratio"`
	Needed float64 `json:"needed"`
}

// Contrasts computes the contrast of each visible text of the page from the
// colours in which it is rendered, those of fields, and that of the border of
// each control, which needs 3. Pictures behind text do not count.
func (p *Page) Contrasts() []Contrast {
	p.tb.Helper()
	return Eval[[]Contrast](p, contrastScript)
}
