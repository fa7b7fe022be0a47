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

// Bounds of a form.
const (
	// maxForm is how many bytes it may have.
	maxForm = 1 << 20
	// maxChosen is how many messages it may name.
	maxChosen = 1000
	// changeTimeout is how long the outbox may take to change messages.
	changeTimeout = time.Minute
	// countTimeout is how long a person waits to be told how many messages
	// there are, before being asked without the number.
	countTimeout = 5 * time.Second
)

// confirmBody is what the page before discarding shows.
type confirmBody struct {
	// Question names the messages; Button says what happens, and Keep what else
	// can be done.
	Question, Button, Keep string
	// All tells that these are all messages of a filter; Keys are the chosen
	// ones otherwise, and IDs the same for the eye.
	All  bool
	Keys []string
	IDs  []string
	// Discard is the address that the form goes to, Back that of the list.
	Discard, Back string
}

// form is what a person wants to change.
type form struct {
	filter filter
	after  string
	all    bool
	ids    []string
}

// back is the address of the list that the form was on.
func (f form) back(pairs ...string) string {
	return f.filter.link("./", append([]string{"after", f.after}, pairs...)...)
}

// selection names the messages for the outbox. Of those that were chosen from a
// list of one state it leaves alone what has another by now: somebody else may
// have had a dead message tried again.
func (f form) selection() outbox.Selection {
	if f.all {
		return f.filter.selection()
	}
	return outbox.Selection{IDs: f.ids, State: f.filter.state()}
}

// readForm reads and checks a form, or answers what is wrong with it.
func (p *page) readForm(w http.ResponseWriter, r *http.Request) (form, bool) {
	status := http.StatusBadRequest
	read, err := parseForm(r)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status, err = http.StatusRequestEntityTooLarge, fmt.Errorf("a form may have at most %s", size(maxForm))
	}
	if err != nil {
		p.notice(w, status, "Not possible", "The form cannot be carried out: "+err.Error()+".")
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
		return form{}, errors.New("it is not in the form that browsers send") // the cause may hold what was sent
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
		return form{}, fmt.Errorf("it names more than %s", webpage.Counted(maxChosen, "message", "messages"))
	}
	for _, key := range r.PostForm["id"] {
		id, err := url.PathUnescape(key)
		if err != nil || checkID(id) != nil {
			return form{}, errID
		}
		f.ids = append(f.ids, id)
	}
	if f.all && len(f.ids) > 0 {
		return form{}, errors.New("it names both all messages and some")
	}
	return f, nil
}

// retry has messages delivered again.
func (p *page) retry(w http.ResponseWriter, r *http.Request) {
	p.change(w, r, noteRetried, p.box.Retry)
}

// discard deletes messages once that is confirmed.
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

// howMany counts the messages that a form is about. They are not known if that
// takes too long.
func (p *page) howMany(ctx context.Context, f form) (n int, known bool, err error) {
	limited, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	n, err = p.box.Count(limited, f.selection())
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return 0, false, nil
	}
	return n, err == nil, err
}

// change reads a form and carries it out.
func (p *page) change(w http.ResponseWriter, r *http.Request, note string, do changer) {
	if f, ok := p.readForm(w, r); ok {
		p.carryOut(w, r, f, note, do)
	}
}

// changer is a method of the outbox that changes messages and counts them.
type changer func(context.Context, outbox.Selection) (int, error)

// carryOut changes messages and leads back to the list.
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
		f.after = "" // the page that was looked at may be gone
	}
	redirect(w, f.back("note", note, "count", strconv.Itoa(n)))
}

// Notes are what the list says after a form was sent. They are told by a code
// in the address, so that no address can make a page say anything else.
const (
	noteRetried   = "retried"
	noteDiscarded = "discarded"
	noteNone      = "none"
)

// noteOf reads the note of an address.
func noteOf(query url.Values, delivered string) webpage.Badge {
	count, err := strconv.Atoi(query.Get("count"))
	if err != nil || count < 0 {
		count = 0
	}
	switch note := query.Get("note"); {
	case note == noteNone:
		return webpage.Bad("No message was selected. Tick some first.")
	case note != noteRetried && note != noteDiscarded:
		return webpage.Badge{}
	case count == 0:
		return webpage.Bad("Nothing was " + note + ": the messages were " + delivered + " or discarded meanwhile.")
	case note == noteRetried:
		return webpage.Good(webpage.Counted(count, "message is", "messages are") + " tried again now.")
	default:
		return webpage.Good(webpage.Counted(count, "message was", "messages were") + " discarded.")
	}
}
