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

// templates are the pages by name, each within the layout.
var templates = webpage.Parse(templateFiles, template.FuncMap{
	"actions": func(list listBody, at string) map[string]any { return map[string]any{"List": list, "At": at} },
}, nil, "list", "message", "confirm", "notice")

// content is the content of the layout.
type content struct {
	Title string
	// Self is the address for reloading the page; empty if it has none.
	Self string
	// Live makes the page's script refresh it. Refresh, if not zero, makes browsers
	// without JavaScript reload it at this interval in seconds; Toggle is the address that
	// turns this on or off.
	Live    bool
	Refresh int
	Toggle  string
	// Back is the address of the list; empty on the list itself.
	Back string
	Note webpage.Badge
	// Words are the texts that differ between an outbox and an inbox.
	Words words
	Now   webpage.Moment
	// Body is the content of the page itself.
	Body any
}

// now returns the time in the time zone of the page.
func (p *page) now() time.Time {
	zone := p.options.TimeZone
	if zone == nil {
		zone = time.Local
	}
	return time.Now().In(zone)
}

// render sends a page, or status 500 if the template fails.
func (p *page) render(w http.ResponseWriter, status int, name string, c content) {
	now := p.now()
	c.Words = p.words
	c.Now = webpage.MomentOf(now, now.Format("15:04:05 MST"))
	_ = templates.Render(w, status, name, c)
}

// notice sends a page with one message.
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
