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

// Parse parses the files templates/NAME.html of these names, each together with
// templates/layout.html and the shared files, such as "templates/lists.html". The
// templates can use "time", "clock" and "moment" for a [Moment], which show its text, a
// time of day, or both text and time; "badge" for a [Badge]; the functions name and
// number, which are [Shown] with [MaxName] and [Grouped]; and the given functions. It
// panics if a file is missing or invalid, as [template.Must] does.
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

// Render sends a page. If the template fails, it sends status 500 and returns the
// error.
func (t Templates) Render(w http.ResponseWriter, status int, name string, content any) error {
	var out bytes.Buffer
	if err := t[name].Execute(&out, content); err != nil {
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		return err
	}
	Send(w, status, "text/html; charset=utf-8", out.Bytes())
	return nil
}
