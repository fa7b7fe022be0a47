package outboxpage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of a form.
const (
	// maxForm is its maximum size in bytes.
	maxForm = 1 << 20
	// maxChosen is the maximum number of messages that it can select.
	maxChosen = 1000
	// changeTimeout bounds a change of messages in the store.
	changeTimeout = time.Minute
	// countTimeout bounds counting before a confirmation; after it, the page asks
	// without the number.
	countTimeout = 5 * time.Second
)

// confirmBody is the content of the confirmation page.
type confirmBody struct {
	// Question names the messages; Button and Keep are the texts of the button and
	// of the link back.
	Question, Button, Keep string
	// All selects all messages of a filter; otherwise Keys are the selected
	// messages, and IDs the same for display.
	All  bool
	Keys []string
	IDs  []string
	// Discard is the address of the form, Back the address of the list.
	Discard, Back string
}

// form is a parsed form.
type form struct {
	filter filter
	after  string
	all    bool
	ids    []string
}

// back returns the address of the list that the form was on.
func (f form) back(pairs ...string) string {
	return f.filter.link("./", append([]string{"after", f.after}, pairs...)...)
}

// selection selects the messages in the store. Messages selected in a list of one
// state are not changed if their state has changed since, for example because another
// person has retried a dead message.
func (f form) selection() outbox.Selection {
	if f.all {
		return f.filter.selection()
	}
	return outbox.Selection{IDs: f.ids, State: f.filter.state()}
}

// readForm parses and checks a form, or sends an error page.
func (p *page) readForm(w http.ResponseWriter, r *http.Request) (form, bool) {
	status := http.StatusBadRequest
	read, err := parseForm(r)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("a form can have at most %s", size(maxForm))
	}
	if err != nil {
		p.notice(w, status, "Invalid request", "The form cannot be processed: "+err.Error()+".")
		return form{}, false
	}
	if !read.all && len(read.ids) == 0 {
		redirect(w, read.back("note", noteNone))
		return form{}, false
	}
	return read, true
}

func parseForm(r *http.Request) (form, error) {
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return form{}, err
		}
		return form{}, errors.New("it is not encoded as a form") // the cause may contain what was sent
	}
	query := r.URL.Query()
	f := form{after: query.Get("after"), all: r.PostForm.Get("all") == "yes"}
	var err error
	if f.filter, err = readFilter(query); err != nil {
		return form{}, err
	}
	if f.after != "" {
		if err := checkID(f.after); err != nil {
			return form{}, err
		}
	}
	if len(r.PostForm["id"]) > maxChosen {
		return form{}, fmt.Errorf("it selects more than %s", webpage.Counted(maxChosen, "message", "messages"))
	}
	for _, key := range r.PostForm["id"] {
		id, err := url.PathUnescape(key)
		if err != nil || checkID(id) != nil {
			return form{}, errID
		}
		f.ids = append(f.ids, id)
	}
	if f.all && len(f.ids) > 0 {
		return form{}, errors.New("it selects both all messages and some")
	}
	return f, nil
}

// retry makes messages due now.
func (p *page) retry(w http.ResponseWriter, r *http.Request) {
	p.change(w, r, noteRetried, p.box.Retry)
}

// discard deletes messages after a confirmation.
func (p *page) discard(w http.ResponseWriter, r *http.Request) {
	f, ok := p.readForm(w, r)
	if !ok {
		return
	}
	if r.PostForm.Get("confirmed") == "yes" {
		p.carryOut(w, r, f, noteDiscarded, p.box.Discard)
		return
	}
	n, known := len(f.ids), true
	if f.all {
		var err error
		if n, known, err = p.howMany(r.Context(), f); err != nil {
			p.notice(w, http.StatusServiceUnavailable, "The "+p.words.Box+" cannot be read", reason(err))
			return
		}
		if known && n == 0 {
			redirect(w, f.back("note", noteDiscarded, "count", "0"))
			return
		}
	}
	body := confirmBody{
		Button: "Discard " + webpage.Counted(n, "message", "messages"), Keep: "Keep them",
		All: f.all, Discard: f.filter.link("discard", "after", f.after), Back: f.back(),
	}
	switch {
	case !known:
		body.Question, body.Button = "Discard all "+f.filter.words(p.words.Deliver)+"?", "Discard them all"
	case f.all:
		body.Question = "Discard " + f.filter.counted(n, p.words.Deliver) + "?"
	default:
		body.Question = body.Button + "?"
	}
	if known && n == 1 {
		body.Keep = "Keep it"
	}
	for _, id := range f.ids {
		body.Keys = append(body.Keys, url.PathEscape(id))
		body.IDs = append(body.IDs, webpage.Shown(id, webpage.MaxName))
	}
	p.render(w, http.StatusOK, "confirm", content{Title: body.Question, Back: f.back(), Body: body})
}

// howMany counts the messages of a form. known is false if counting takes too long.
func (p *page) howMany(ctx context.Context, f form) (n int, known bool, err error) {
	limited, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err = p.box.Count(limited, f.selection())
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return 0, false, nil
	}
	return n, err == nil, err
}

// change reads a form and applies it.
func (p *page) change(w http.ResponseWriter, r *http.Request, note string, do changer) {
	if f, ok := p.readForm(w, r); ok {
		p.carryOut(w, r, f, note, do)
	}
}

// changer is a method of the outbox that changes messages and counts them.
type changer func(context.Context, outbox.Selection) (int, error)

// carryOut changes messages and redirects to the list.
func (p *page) carryOut(w http.ResponseWriter, r *http.Request, f form, note string, do changer) {
	ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
	defer cancel()
	n, err := do(ctx, f.selection())
	p.topics.forget()
	p.stats.forget()
	if err != nil {
		text := reason(err)
		if n > 0 {
			text = webpage.Counted(n, "message was", "messages were") + " " + note + " before this error: " + text
		}
		p.notice(w, http.StatusServiceUnavailable, "The "+p.words.Box+" cannot be changed", text)
		return
	}
	if f.all {
		f.after = "" // the page of the list may no longer exist
	}
	redirect(w, f.back("note", note, "count", strconv.Itoa(n)))
}

// Notes are shown on the list after a form was sent. The address contains only the
// code of a note, so that no link can make the page show another text.
const (
	noteRetried   = "retried"
	noteDiscarded = "discarded"
	noteNone      = "none"
)

// noteOf returns the note of an address.
func noteOf(query url.Values, delivered string) webpage.Badge {
	count, err := strconv.Atoi(query.Get("count"))
	if err != nil || count < 0 {
		count = 0
	}
	switch note := query.Get("note"); {
	case note == noteNone:
		return webpage.Bad("No message was selected. Select at least one.")
	case note != noteRetried && note != noteDiscarded:
		return webpage.Badge{}
	case count == 0:
		return webpage.Bad("Nothing was " + note + ": the messages were already " + delivered + " or discarded.")
	case note == noteRetried:
		return webpage.Good("Retrying " + webpage.Counted(count, "message", "messages") + " now.")
	default:
		return webpage.Good(webpage.Counted(count, "message was", "messages were") + " discarded.")
	}
}
