package outboxpage

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// messageBody is what the page of a message shows.
type messageBody struct {
	row
	Size      string
	DeliverAt moment
	// Retry and Discard are the addresses that the forms go to.
	Retry, Discard string
	// Hidden tells that payload and attributes are not shown; Toggle is the
	// address that changes that, empty if they are hidden for good.
	Hidden              bool
	Toggle              string
	Payload, Attributes partBody
}

// partBody is a payload or attributes.
type partBody struct {
	Text string
	// Link is the address of all of it, Size how much that is.
	Link, Size string
	Cut        bool
}

// find returns the message with an id; false if there is none. A store lists
// by ascending id, so it is among the first after what comes shortly before.
func (p *page) find(ctx context.Context, id string) (outbox.Record, bool, error) {
	query := outbox.Query{After: before(id), Limit: 4}
	for {
		records, err := p.client.Outbox().List(ctx, query)
		if err != nil {
			return outbox.Record{}, false, err
		}
		for _, record := range records {
			if record.ID == id {
				return record, true, nil
			}
		}
		if len(records) < query.Limit || records[len(records)-1].ID > id {
			return outbox.Record{}, false, nil
		}
		query.After = records[len(records)-1].ID
	}
}

// before returns a text that sorts shortly before an id: of usual ids there is
// none in between.
func before(id string) string {
	last := id[len(id)-1]
	if last > ' ' && last < utf8.RuneSelf {
		return id[:len(id)-1] + string(rune(last-1)) + "~"
	}
	_, width := utf8.DecodeLastRuneInString(id)
	return id[:len(id)-width]
}

// asked returns the message that a request is about, or answers why it cannot.
func (p *page) asked(w http.ResponseWriter, r *http.Request) (outbox.Record, filter, bool) {
	query := r.URL.Query()
	f, err := readFilter(query)
	if err == nil {
		err = checkID(query.Get("id"))
	}
	if err != nil {
		notice(w, http.StatusBadRequest, "Not possible", "This cannot be looked up: "+err.Error()+".")
		return outbox.Record{}, f, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	record, found, err := p.find(ctx, query.Get("id"))
	switch {
	case err != nil:
		notice(w, http.StatusServiceUnavailable, "The outbox cannot be read", reason(err))
	case !found:
		notice(w, http.StatusNotFound, "No such message", "The outbox has no message of this id. It was delivered or discarded, or there never was one.")
	}
	return record, f, found
}

// message shows a message with its payload.
func (p *page) message(w http.ResponseWriter, r *http.Request) {
	record, f, ok := p.asked(w, r)
	if !ok {
		return
	}
	after := r.URL.Query().Get("after")
	now := time.Now()
	body := messageBody{
		row: p.row(f, record, after, now), Size: size(record.Size()),
		Retry: f.link("retry", "after", after), Discard: f.link("discard", "after", after),
		Hidden: p.options.HidePayloads || r.URL.Query().Get("payloads") == "hide",
	}
	if !record.DeliverAt.IsZero() {
		wait := record.DeliverAt.Sub(now)
		body.DeliverAt = momentOf(record.DeliverAt, ago(-wait))
		if wait > 0 {
			body.DeliverAt.Text = in(wait)
		}
	}
	self, toggle := "", "hide"
	if !p.options.HidePayloads {
		if body.Hidden {
			self, toggle = toggle, self
		}
		body.Toggle = f.link("message", "id", record.ID, "after", after, "payloads", toggle)
	}
	if !body.Hidden {
		body.Payload = newPart(f, record.ID, "payload", record.Payload)
		body.Attributes = newPart(f, record.ID, "attributes", record.Attributes)
	}
	render(w, http.StatusOK, "message", content{
		Title: "Message", Back: f.link("./", "after", after),
		Self: f.link("message", "id", record.ID, "after", after, "payloads", self), Body: body,
	})
}

func newPart(f filter, id, name string, text json.RawMessage) partBody {
	whole := webpage.Indented(text, maxPayload)
	return partBody{
		Text: webpage.ShownLines(whole, maxPayload), Link: f.link("part", "id", id, "part", name),
		Size: size(int64(len(text))), Cut: utf8.RuneCountInString(whole) > maxPayload,
	}
}

// part sends the payload or the attributes of a message, uncut, as plain text.
func (p *page) part(w http.ResponseWriter, r *http.Request) {
	if p.options.HidePayloads {
		notice(w, http.StatusForbidden, "Hidden", "This page is set up to hide payloads and attributes.")
		return
	}
	record, _, ok := p.asked(w, r)
	if !ok {
		return
	}
	parts := map[string]json.RawMessage{"payload": record.Payload, "attributes": record.Attributes}
	text, known := parts[r.URL.Query().Get("part")]
	if !known {
		notice(w, http.StatusNotFound, "There is nothing here", "A message has a payload and attributes.")
		return
	}
	w.Header().Set("Content-Security-Policy", "sandbox; "+policy)
	send(w, http.StatusOK, "text/plain; charset=utf-8", text)
}
