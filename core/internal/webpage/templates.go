package webpage

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
)

//go:embed shared.html
var sharedFiles embed.FS

// Templates are pages by name.
type Templates map[string]*template.Template

// Parse reads the files templates/NAME.html of these names, each within
// templates/layout.html and beside the shared files, such as
// "templates/lists.html". They can use the templates "time", "clock" and "moment" for
// a [Moment], which show its text, a time of day, and both text and time, and
// "badge" for a [Badge], the functions name and number, which are [Shown] with
// [MaxName] and [Grouped], and functions of their own. It panics when a file is
// missing or wrong, as [template.Must] does.
func Parse(files fs.FS, functions template.FuncMap, shared []string, names ...string) Templates {
	all := template.FuncMap{
		"name":   func(text string) string { return Shown(text, MaxName) },
		"number": Grouped,
	}
	maps.Copy(all, functions)
	parsed := make(Templates, len(names))
	for _, name := range names {
		page := template.Must(template.New("layout.html").Funcs(all).ParseFS(sharedFiles, "shared.html"))
		own := append([]string{"templates/layout.html", "templates/" + name + ".html"}, shared...)
		parsed[name] = template.Must(page.ParseFS(files, own...))
	}
	return parsed
}

// Render answers with a page. When the page cannot be made it answers with
// status 500 and returns why.
func (t Templates) Render(w http.ResponseWriter, status int, name string, content any) error {
	var out bytes.Buffer
	if err := t[name].Execute(&out, content); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return err
	}
	Send(w, status, "text/html; charset=utf-8", out.Bytes())
	return nil
}
