package outboxpage

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/style.css
var styleSheet []byte

// templates are the pages by name; each stands in the layout.
var templates = parseTemplates("list", "message", "confirm", "notice")

func parseTemplates(names ...string) map[string]*template.Template {
	parsed := make(map[string]*template.Template, len(names))
	for _, name := range names {
		parsed[name] = template.Must(template.New("layout.html").Funcs(template.FuncMap{
			"name":   func(text string) string { return webpage.Shown(text, maxName) },
			"number": grouped,
		}).ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html"))
	}
	return parsed
}

// content is what the layout shows.
type content struct {
	Title string
	// Self is the address of the page, to load it again; empty if it has none.
	Self string
	// Back is the address of the list; empty on the list itself.
	Back string
	Note badge
	Now  moment
	// Body is the page's own.
	Body any
}

// render sends a page.
func render(w http.ResponseWriter, status int, name string, c content) {
	now := time.Now()
	c.Now = momentOf(now, now.Local().Format("15:04:05 MST"))
	var out bytes.Buffer
	if err := templates[name].Execute(&out, c); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	send(w, status, "text/html; charset=utf-8", out.Bytes())
}

// send answers with bytes of a kind.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a browser that is gone is no concern
}

// notice is a page that says one thing.
func notice(w http.ResponseWriter, status int, title, text string) {
	render(w, status, "notice", content{Title: title, Back: "./", Body: text})
}

func style(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "text/css; charset=utf-8", webpage.Style(styleSheet))
}

func icon(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "image/svg+xml", webpage.Icon())
}
