package outboxpage

import (
	"embed"
	"html/template"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css
var styleSheet []byte

//go:embed assets/page.js
var script []byte

// templates are the pages by name; each stands in the layout.
var templates = webpage.Parse(templateFiles, template.FuncMap{
	"actions": func(list listBody, at string) map[string]any { return map[string]any{"List": list, "At": at} },
}, nil, "list", "message", "confirm", "notice")

// content is what the layout shows.
type content struct {
	Title string
	// Self is the address of the page, to load it again; empty if it has none.
	Self string
	// Live tells that the page is kept up to date: by its script, or with
	// Refresh, a number of seconds, by the browser. Toggle is the address of the
	// page that changes the latter.
	Live    bool
	Refresh int
	Toggle  string
	// Back is the address of the list; empty on the list itself.
	Back string
	Note webpage.Badge
	// Words are those of the page; its store is an outbox or an inbox.
	Words words
	Now   webpage.Moment
	// Body is the page's own.
	Body any
}

// now is the time in the zone of the page.
func (p *page) now() time.Time {
	zone := p.options.TimeZone
	if zone == nil {
		zone = time.Local
	}
	return time.Now().In(zone)
}

// render sends a page. A page that cannot be made is answered with status 500.
func (p *page) render(w http.ResponseWriter, status int, name string, c content) {
	now := p.now()
	c.Words = p.words
	c.Now = webpage.MomentOf(now, now.Format("15:04:05 MST"))
	_ = templates.Render(w, status, name, c)
}

// notice is a page that says one thing.
func (p *page) notice(w http.ResponseWriter, status int, title, text string) {
	p.render(w, status, "notice", content{Title: title, Back: "./", Body: text})
}

func style(w http.ResponseWriter, _ *http.Request) {
	webpage.Send(w, http.StatusOK, "text/css; charset=utf-8", webpage.Style(styleSheet))
}

func javaScript(w http.ResponseWriter, _ *http.Request) {
	webpage.Send(w, http.StatusOK, "text/javascript; charset=utf-8", webpage.Script(script))
}

func icon(w http.ResponseWriter, _ *http.Request) {
	webpage.Send(w, http.StatusOK, "image/svg+xml", webpage.Icon())
}
