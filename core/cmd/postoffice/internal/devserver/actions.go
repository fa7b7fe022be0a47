package devserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// maxForm is the maximum size of a form in bytes.
const maxForm = 10 << 20

// Notes are shown on a page after a form was sent. The address contains only the code
// of a note, so that no link can make the page show another text.
const (
	notePublished = "published"
	noteDiscarded = "discarded"
	noteRetried   = "retried"
	notePaused    = "paused"
	noteResumed   = "resumed"
	noteRescue    = "rescue"
	noteBroken    = "broken"
	noteMended    = "mended"
	noteNoJob     = "no-job"
	noteIsPaused  = "is-paused"
	noteUnderWay  = "under-way"
	noteSettled   = "settled"
	noteTopic     = "topic-created"
	noteConsumer  = "consumer-created"
	noteChanged   = "consumer-changed"
	noteDeleted   = "consumer-deleted"
	noteCancelled = "cancelled"
)

var notes = map[string]webpage.Badge{
	noteDiscarded: webpage.Bad("The message was accepted and discarded: its topic has no consumer. The real server does the same."),
	notePaused:    webpage.Good("The consumer is paused. Its messages wait."),
	noteResumed:   webpage.Good("The consumer is active again. Waiting messages are delivered within 30 seconds, or at once with “Retry all”."),
	noteRescue:    webpage.Good("The rescuer is calling the origin hosts."),
	noteBroken:    webpage.Good("The server now fails on purpose."),
	noteMended:    webpage.Good("The server works again."),
	noteNoJob:     webpage.Bad("There is no such delivery, or it is no longer in the history."),
	noteIsPaused:  webpage.Bad("The consumer is paused. Resume it first."),
	noteUnderWay:  webpage.Bad("An attempt is already in progress."),
	noteSettled:   webpage.Bad("There is nothing left to deliver."),

	noteTopic:     webpage.Good("The topic is created. Until it has a consumer, its messages are discarded."),
	noteConsumer:  webpage.Good("The consumer is created. It receives messages published from now on."),
	noteChanged:   webpage.Good("The consumer is changed. Waiting messages keep their old target."),
	noteDeleted:   webpage.Good("The consumer is deleted. Its waiting messages are discarded when they become due."),
	noteCancelled: webpage.Good("The delivery is cancelled."),
}

// noteOf returns the note of an address.
func noteOf(query url.Values) webpage.Badge {
	count, err := strconv.Atoi(query.Get("count"))
	if err != nil || count < 0 {
		count = 0
	}
	switch code := query.Get("note"); code {
	case notePublished:
		return webpage.Good("Published: " + webpage.Counted(count, "delivery", "deliveries") + ".")
	case noteRetried:
		return webpage.Good("Retrying " + webpage.Counted(count, "delivery", "deliveries") + " now.")
	default:
		return notes[code]
	}
}

// back redirects to the page from which a form was sent, with a note.
func back(w http.ResponseWriter, r *http.Request, note string, count int) {
	address := r.PostFormValue("back")
	if !local(address) {
		address = "/"
	}
	to, err := url.Parse(address)
	if err != nil {
		to = &url.URL{Path: "/"}
	}
	query := to.Query()
	query.Set("note", note)
	query.Del("count")
	if count > 0 {
		query.Set("count", strconv.Itoa(count))
	}
	to.RawQuery, to.Fragment = query.Encode(), ""
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// read parses the form of a request, or sends an error page.
func (a *app) read(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		a.notice(w, r, http.StatusRequestEntityTooLarge, "Too large", "A form can have at most 10 MB.")
	case err != nil:
		a.notice(w, r, http.StatusBadRequest, "Invalid request", "The form cannot be read.")
	}
	return err == nil
}

// publishForm is the form that publishes a message.
type publishForm struct {
	Topics                     []string
	More                       int
	Topic, Payload, Attributes string
	// Errors has the errors by field.
	Errors map[string]string
}

// check sets Errors, and returns the payload and the attributes, which are valid if
// there are no errors.
func (f *publishForm) check(known []string) (payload, attributes json.RawMessage) {
	f.Errors = make(map[string]string)
	if !slices.Contains(known, f.Topic) {
		f.Errors["Topic"] = "Choose a topic that exists."
	}
	payload = json.RawMessage(strings.TrimSpace(f.Payload))
	if !isObject(payload) {
		f.Errors["Payload"] = "The payload must be a JSON object, such as {\"order\": 17}."
	}
	attributes = json.RawMessage(strings.TrimSpace(f.Attributes))
	if len(attributes) == 0 {
		attributes = json.RawMessage("{}")
	}
	var texts map[string]*string
	if err := json.Unmarshal(attributes, &texts); err != nil || texts == nil {
		f.Errors["Attributes"] = "The attributes must be a JSON object of strings, such as {\"kind\": \"new\"}, or empty."
	}
	for _, value := range texts {
		if value == nil {
			f.Errors["Attributes"] = "The values of attributes must be strings; one is null."
		}
	}
	return payload, attributes
}

// isObject reports whether a text is a JSON object.
func isObject(text json.RawMessage) bool {
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}

func (a *app) publish(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	form := publishForm{Topic: r.PostForm.Get("topic"), Payload: r.PostForm.Get("payload"), Attributes: r.PostForm.Get("attributes")}
	var known []string
	for _, topic := range a.server.Topics() {
		known = append(known, topic.Name)
	}
	payload, attributes := form.check(known)
	if len(form.Errors) == 0 {
		ids, err := a.operator.Publish(form.Topic, payload, attributes)
		if err == nil {
			note := notePublished
			if len(ids) == 0 {
				note = noteDiscarded
			}
			back(w, r, note, len(ids))
			return
		}
		form.Errors["Payload"] = "The server does not accept it: " + strings.TrimPrefix(err.Error(), "postofficetest: ") + "."
	}
	a.showOverview(w, r, http.StatusUnprocessableEntity, form)
}

// number returns the id in a path; zero, which is never used, if it is invalid.
func number(r *http.Request) int64 {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// steerConsumer pauses, resumes, retries or deletes a consumer.
func (a *app) steerConsumer(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	consumer, found := a.consumerOf(w, r)
	if !found {
		return
	}
	id := consumer.ID
	switch r.PathValue("action") {
	case "pause":
		a.server.SetPaused(id, true)
		back(w, r, notePaused, 0)
	case "resume":
		a.server.SetPaused(id, false)
		back(w, r, noteResumed, 0)
	case "retry":
		switch retried := a.operator.RetryConsumer(id); {
		case retried > 0:
			back(w, r, noteRetried, retried)
		case consumer.Paused && consumer.Heeded:
			back(w, r, noteIsPaused, 0)
		default:
			back(w, r, noteSettled, 0)
		}
	case "delete":
		a.operator.DeleteConsumer(id)
		back(w, r, noteDeleted, 0)
	default:
		a.notice(w, r, http.StatusNotFound, "Not found", "A consumer can be paused, resumed, retried and deleted.")
	}
}

// steerJob retries a job now, or cancels it.
func (a *app) steerJob(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	var err error
	note, count := noteRetried, 1
	switch r.PathValue("action") {
	case "retry":
		err = a.operator.RetryNow(number(r))
	case "cancel":
		note, count = noteCancelled, 0
		err = a.operator.CancelJob(number(r))
	default:
		a.notice(w, r, http.StatusNotFound, "Not found", "A delivery can be retried and cancelled.")
		return
	}
	switch {
	case err == nil:
		back(w, r, note, count)
	case errors.Is(err, postofficetest.ErrPaused):
		back(w, r, noteIsPaused, 0)
	case errors.Is(err, postofficetest.ErrUnderWay):
		back(w, r, noteUnderWay, 0)
	case errors.Is(err, postofficetest.ErrSettled):
		back(w, r, noteSettled, 0)
	default:
		back(w, r, noteNoJob, 0)
	}
}

// rescue runs the rescuer in the background.
func (a *app) rescue(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	a.start(func() { a.server.RunRescuer(a.ctx) })
	back(w, r, noteRescue, 0)
}

// start runs a function in the background, unless the server is stopping.
func (a *app) start(function func()) {
	a.starting.Lock()
	defer a.starting.Unlock()
	if a.ctx.Err() == nil {
		a.work.Go(function)
	}
}

// finish waits for the functions of start. Call it after the context has ended.
func (a *app) finish() {
	a.starting.Lock()
	a.starting.Unlock() //nolint:staticcheck // earlier calls of start have been counted
	a.work.Wait()
}
