package devserver

import (
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// Page sizes.
const (
	overviewRows = 10
	pageRows     = 50
	// choices is the maximum number of topics to choose from.
	choices = 1000
)

// policy is the content security policy: a page can only load its own script, style
// sheet and icon.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// templates are the pages by name, each within the layout.
var templates = webpage.Parse(templateFiles, template.FuncMap{
	"both":   func(row, page any) map[string]any { return map[string]any{"Row": row, "Page": page} },
	"target": func(form entries, hint string) map[string]any { return map[string]any{"Form": form, "Hint": hint} },
}, []string{"templates/lists.html"}, "overview", "topics", "consumers", "consumer", "messages", "message", "attempts", "break", "notice")

// newPages returns the handler of the pages.
func (a *app) newPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.overview)
	mux.Handle("GET /dev", http.RedirectHandler("/", http.StatusSeeOther))
	mux.Handle("GET /dev/{$}", http.RedirectHandler("/", http.StatusSeeOther))
	mux.HandleFunc("GET /dev/topics", a.topics)
	mux.HandleFunc("GET /dev/consumers", a.consumers)
	mux.HandleFunc("GET /dev/consumers/{id}", a.consumer)
	mux.HandleFunc("GET /dev/messages", a.messages)
	mux.HandleFunc("GET /dev/messages/{number}", a.message)
	mux.HandleFunc("GET /dev/messages/{number}/{part}", a.part)
	mux.HandleFunc("GET /dev/attempts", a.attempts)
	mux.HandleFunc("GET /dev/break", a.breaking)
	mux.HandleFunc("GET /dev/events", a.events)
	mux.HandleFunc("GET /dev/assets/{file}", asset)
	mux.HandleFunc("POST /dev/publish", a.publish)
	mux.HandleFunc("POST /dev/topics", a.createTopic)
	mux.HandleFunc("POST /dev/consumers", a.createConsumer)
	mux.HandleFunc("POST /dev/consumers/{id}", a.changeConsumer)
	mux.HandleFunc("POST /dev/consumers/{id}/{action}", a.steerConsumer)
	mux.HandleFunc("POST /dev/jobs/{id}/{action}", a.steerJob)
	mux.HandleFunc("POST /dev/rescue", a.rescue)
	mux.HandleFunc("POST /dev/break", a.breakServer)
	mux.HandleFunc("POST /dev/mend", a.mend)
	mux.HandleFunc("/dev/", func(w http.ResponseWriter, r *http.Request) {
		a.notice(w, r, http.StatusNotFound, "Not found", "This page does not exist, or does not accept this method.")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		webpage.SetHeaders(w.Header(), policy)
		mux.ServeHTTP(w, r)
	})
}

// page is the content of the layout.
type page struct {
	Title string
	// Part is the current item of the navigation, Self the address of the page.
	Part, Self string
	// Trouble describes how the server fails; empty if it works.
	Trouble string
	Note    webpage.Badge
	// Refresh is the content of a meta refresh; empty for none.
	Refresh string
	Now     webpage.Moment
	// Body is the content of the page itself.
	Body any
}

// newPage returns a page with the given body.
func (a *app) newPage(r *http.Request, title, part string, body any) page {
	self := *r.URL
	query := self.Query()
	note := noteOf(query)
	query.Del("note")
	query.Del("count")
	self.RawQuery = query.Encode()
	address := self.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// The address of a rejected form does not show a page.
		address = "/"
		switch part {
		case "break":
			address = "/dev/break"
		case "topics", "consumers":
			address = self.Path // the address of the form's page
		}
	}
	return page{
		Title: title, Part: part, Self: address, Note: note,
		Trouble: troubleText(a.operator.Trouble()), Now: momentOf(time.Now(), time.Now()), Body: body,
	}
}

// render sends a page.
func (a *app) render(w http.ResponseWriter, status int, name string, content page) {
	if err := templates.Render(w, status, name, content); err != nil {
		a.options.Logger.Error("a page of the development server cannot be rendered", "page", name, "error", err)
	}
}

// notice sends a page with one message.
func (a *app) notice(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	a.render(w, status, "notice", a.newPage(r, title, "", text))
}

// asset sends a static file.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	content, err := assetFiles.ReadFile("assets/" + path.Base(name))
	switch {
	case name == "icon.svg":
		content = webpage.Icon()
	case err != nil:
		http.NotFound(w, r)
		return
	case path.Ext(name) == ".css":
		content = webpage.Style(content)
	case path.Ext(name) == ".js":
		content = webpage.Script(content)
	}
	kinds := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	w.Header().Set("Cache-Control", "no-cache")
	webpage.Send(w, http.StatusOK, kinds[path.Ext(name)]+"; charset=utf-8", content)
}

// overviewBody is the content of the overview.
type overviewBody struct {
	Topics    topicList
	Consumers consumerList
	Messages  messageList
	Attempts  attemptList
	Runs      []runRow
	Rescues   bool
	Form      publishForm
}

func (a *app) overview(w http.ResponseWriter, r *http.Request) {
	a.showOverview(w, r, http.StatusOK, publishForm{Topic: r.URL.Query().Get("topic"), Payload: "{}"})
}

func (a *app) showOverview(w http.ResponseWriter, r *http.Request, status int, form publishForm) {
	form.Topics, form.More = a.topicChoices()
	body := overviewBody{
		Topics: a.listTopics(0, overviewRows), Consumers: a.listConsumers(0, overviewRows),
		Messages: a.listMessages(search{}, 0, overviewRows), Attempts: a.listAttempts(search{}, 0, overviewRows),
		Runs: a.listRuns(), Form: form,
	}
	for _, topic := range a.server.Topics() {
		body.Rescues = body.Rescues || topic.RecoveryEnabled
	}
	a.render(w, status, "overview", a.newPage(r, "Overview", "overview", body))
}

func (a *app) messages(w http.ResponseWriter, r *http.Request) {
	list := a.listMessages(searchOf(r, messageStates), before(r), pageRows)
	a.render(w, http.StatusOK, "messages", a.newPage(r, "Messages", "messages", list))
}

func (a *app) attempts(w http.ResponseWriter, r *http.Request) {
	list := a.listAttempts(searchOf(r, attemptStates), before(r), pageRows)
	a.render(w, http.StatusOK, "attempts", a.newPage(r, "Attempts", "attempts", list))
}

// pageNumber returns the requested page of a list, counted from 0.
func pageNumber(r *http.Request) int {
	number, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil || number < 0 || number > 1_000_000 {
		return 0
	}
	return number
}

// before returns the number below which a list begins; zero for the newest.
func before(r *http.Request) int64 {
	number, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || number < 0 {
		return 0
	}
	return number
}

// found returns the message that a path names, or sends an error page.
func (a *app) found(w http.ResponseWriter, r *http.Request) (postofficetest.Message, bool) {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	message, found := a.operator.MessageNumbered(number)
	if err != nil || !found {
		a.notice(w, r, http.StatusNotFound, "No such message", "There is no message with this number, or it is no longer in the history.")
		return message, false
	}
	return message, true
}

func (a *app) message(w http.ResponseWriter, r *http.Request) {
	if message, found := a.found(w, r); found {
		title := "Message " + strconv.FormatInt(message.Number, 10)
		a.render(w, http.StatusOK, "message", a.newPage(r, title, "messages", a.messageBody(message)))
	}
}

// part sends the complete payload or attributes of a message as plain text.
func (a *app) part(w http.ResponseWriter, r *http.Request) {
	message, found := a.found(w, r)
	if !found {
		return
	}
	parts := map[string][]byte{"payload": message.Payload, "attributes": message.Attributes}
	text, known := parts[r.PathValue("part")]
	if !known {
		a.notice(w, r, http.StatusNotFound, "Not found", "The parts of a message are payload and attributes.")
		return
	}
	webpage.SendPlain(w, policy, text)
}

// local reports whether an address is the address of a page, to which a form may
// redirect.
func local(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && parsed.Scheme == "" && parsed.Host == "" && parsed.User == nil &&
		(parsed.Path == "/" || strings.HasPrefix(parsed.Path, "/dev/")) && !strings.ContainsAny(address, "\\\r\n")
}
