// Package webpage is the kit of the pages of this module: the page of
// undelivered messages and that of the development server. It holds what both
// have: the style, the headers, the rendering of templates, and how texts of
// others, times and numbers are shown.
package webpage
