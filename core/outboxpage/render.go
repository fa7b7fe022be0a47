package outboxpage

import (
	"embed"
	"net/http"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css
var styleSheet []byte

// templates are the pages by name; each stands in the layout.
var templates = webpage.Parse(templateFiles, nil, nil, "list", "message", "confirm", "notice")

// content is what the layout shows.
type content struct {
	Title string
	// Self is the address of the page, to load it again; empty if it has none.
	Self string
	// Back is the address of the list; empty on the list itself.
	Back string
	Note webpage.Badge
	// Words are those of the page; its store is an outbox or an inbox.
	Words words
	Now   webpage.Moment
	// Body is the page's own.
	Body any
}

// render sends a page. A page that cannot be made is answered with status 500.
func (p *page) render(w http.ResponseWriter, status int, name string, c content) {
	now := time.Now()
	c.Words = p.words
	c.Now = webpage.MomentOf(now, now.Local().Format("15:04:05 MST"))
	_ = templates.Render(w, status, name, c)
}

// notice is a page that says one thing.
func (p *page) notice(w http.ResponseWriter, status int, title, text string) {
	p.render(w, status, "notice", content{Title: title, Back: "./", Body: text})
}

func style(w http.ResponseWriter, _ *http.Request) {
	webpage.Send(w, http.StatusOK, "text/css; charset=utf-8", webpage.Style(styleSheet))
}

func icon(w http.ResponseWriter, _ *http.Request) {
	webpage.Send(w, http.StatusOK, "image/svg+xml", webpage.Icon())
}
