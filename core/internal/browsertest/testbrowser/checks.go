package testbrowser

import (
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The checks below are for every page of an app; what names the page in a failure.

// CheckFits checks that the page and each visible element fit into the width, except
// for text that scrolls by itself.
func (p *Page) CheckFits(what string) {
	p.tb.Helper()
	assert.False(p.tb, p.Overflows(), what)
	wide := Eval[[]string](p, `[...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && !e.closest("pre, .unseen, thead") && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))`)
	assert.Empty(p.tb, wide, what)
}

// CheckContrasts checks that the page has more than a number of texts, and that each
// has the contrast that it needs. It returns the color of the background.
func (p *Page) CheckContrasts(what string, more int) string {
	p.tb.Helper()
	found := p.Contrasts()
	require.Greater(p.tb, len(found), more, what)
	for _, contrast := range found {
		assert.GreaterOrEqual(p.tb, contrast.Ratio, contrast.Needed, "%s: %+v", what, contrast)
	}
	return Eval[string](p, "getComputedStyle(document.body).backgroundColor")
}

// CheckStructure checks that every control has a name, that the page has one main
// heading, its landmarks and the given numbers of other elements by their selectors,
// that ids are unique, that references have a target, and that no level of headings is
// left out.
func (p *Page) CheckStructure(what string, elements map[string]int) {
	p.tb.Helper()
	nameless := Eval[[]string](p, `[...document.querySelectorAll("button, select, textarea, input:not([type=hidden]), a")]
		.filter((e) => !(e.labels?.length || e.getAttribute("aria-label")?.trim() || e.textContent.trim())).map((e) => e.outerHTML)`)
	assert.Empty(p.tb, nameless, what)
	for _, wanted := range []map[string]int{{"h1": 1, "main": 1, "header": 1, "footer": 1, "html[lang=en]": 1}, elements} {
		for selector, count := range wanted {
			assert.Equal(p.tb, count, Eval[int](p, fmt.Sprintf("document.querySelectorAll(%q).length", selector)), "%s: %s", what, selector)
		}
	}
	twice := Eval[[]string](p, `[...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)`)
	assert.Empty(p.tb, twice, "%s: ids", what)
	broken := Eval[[]string](p, `[...document.querySelectorAll("[aria-labelledby], [aria-describedby]")].flatMap((e) =>
		((e.getAttribute("aria-labelledby") ?? "") + " " + (e.getAttribute("aria-describedby") ?? "")).trim().split(/\s+/)).filter((id) => !document.getElementById(id))`)
	assert.Empty(p.tb, broken, "%s: references", what)
	levels := Eval[[]int](p, `[...document.querySelectorAll("h1, h2, h3")].map((e) => Number(e.tagName[1]))`)
	for i, level := range levels {
		assert.LessOrEqual(p.tb, level, append([]int{0}, levels...)[i]+1, "%s: headings", what)
	}
}

// CheckInert checks that a hostile text had no effect on the page.
func (p *Page) CheckInert(what string) {
	p.tb.Helper()
	assert.NotContains(p.tb, Eval[string](p, "document.title"), "owned", what)
	assert.Zero(p.tb, Eval[int](p, `document.querySelectorAll("img, main script").length`), what)
	assert.False(p.tb, Eval[bool](p, `document.body.innerText.includes("\u202e")`), what)
}
