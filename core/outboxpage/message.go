package outboxpage

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// messageBody is the content of the page of a message.
type messageBody struct {
	row
	Size string
	// Reason is the whole last error.
	Reason    string
	DeliverAt webpage.Moment
	// Retry and Discard are the addresses of the forms.
	Retry, Discard string
	// Hidden hides payload and attributes. Toggle is the address that shows or hides
	// them; empty with Options.HidePayloads.
	Hidden              bool
	Toggle              string
	Payload, Attributes partBody
	// Metadata is shown separately from the payload; empty if there is none.
	Metadata string
}

// partBody is a payload or a set of attributes.
type partBody struct {
	Text string
	// Link is the address of the complete part, Size its size.
	Link, Size string
	Cut        bool
}

// find returns the message with an id; false if there is none. most is the MaxPayload
// of the query.
func (p *page) find(ctx context.Context, id string, most int) (outbox.Entry, bool, error) {
	entries, err := p.box.List(ctx, outbox.Query{IDs: []string{id}, MaxPayload: most})
	if err != nil || len(entries) == 0 {
		return outbox.Entry{}, false, err
	}
	return entries[0], true, nil
}

// asked returns the message that a request names, as find does, or sends an error
// page.
func (p *page) asked(w http.ResponseWriter, r *http.Request, most int) (outbox.Entry, filter, bool) {
	query := r.URL.Query()
	f, err := readFilter(query)
	if err == nil {
		err = checkID(query.Get("id"))
	}
	if err != nil {
		p.notice(w, http.StatusBadRequest, "Invalid request", "The message cannot be shown: "+err.Error()+".")
		return outbox.Entry{}, f, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	entry, found, err := p.find(ctx, query.Get("id"), most)
	switch {
	case err != nil:
		p.notice(w, http.StatusServiceUnavailable, "The "+p.words.Box+" cannot be read", reason(err))
	case !found:
		p.notice(w, http.StatusNotFound, "No such message", "The "+p.words.Box+" has no message with this id. It was "+p.words.Delivered+" or discarded, or it never existed.")
	}
	return entry, f, found
}

// message shows a message.
func (p *page) message(w http.ResponseWriter, r *http.Request) {
	hidden, most := p.options.HidePayloads || r.URL.Query().Get("payloads") == "hide", webpage.ReadContent
	if hidden {
		most = -1
	}
	entry, f, ok := p.asked(w, r, most)
	if !ok {
		return
	}
	after := r.URL.Query().Get("after")
	now := p.now()
	body := messageBody{
		row: p.row(f, entry.Record, after, now), Size: size(entry.Size()), Reason: webpage.Shown(plainError(entry.LastError, entry.Topic), maxRest),
		Retry: f.link("retry", "after", after), Discard: f.link("discard", "after", after),
		Hidden: hidden,
	}
	if !entry.DeliverAt.IsZero() {
		wait := entry.DeliverAt.Sub(now)
		body.DeliverAt = momentOf(entry.DeliverAt, now, ago(-wait))
		if wait > 0 {
			body.DeliverAt.Text = in(wait)
		}
	}
	self, toggle := "", "hide"
	if !p.options.HidePayloads {
		if hidden {
			self, toggle = toggle, self
		}
		body.Toggle = f.link("message", "id", entry.ID, "after", after, "payloads", toggle)
	}
	if !hidden {
		payload, apart := metadata.Cut(entry.Payload)
		body.Metadata, _ = webpage.Content(apart, len(apart))
		body.Payload = newPart(f, entry.ID, "payload", payload, entry.PayloadSize)
		body.Attributes = newPart(f, entry.ID, "attributes", entry.Attributes, entry.AttributesSize)
	}
	p.render(w, http.StatusOK, "message", content{
		Title: "Message", Back: f.link("./", "after", after),
		Self: f.link("message", "id", entry.ID, "after", after, "payloads", self), Body: body,
	})
}

// newPart returns a part of a message. text is its beginning, stored its complete size
// in bytes.
func newPart(f filter, id, name string, text json.RawMessage, stored int) partBody {
	shown, cut := webpage.Content(text, stored)
	return partBody{
		Text: shown, Link: f.link("part", "id", id, "part", name), Size: size(int64(stored)), Cut: cut,
	}
}

// part sends the complete payload or attributes of a message as plain text.
func (p *page) part(w http.ResponseWriter, r *http.Request) {
	if p.options.HidePayloads {
		p.notice(w, http.StatusForbidden, "Hidden", "This page is configured to hide payloads and attributes.")
		return
	}
	entry, _, ok := p.asked(w, r, 0)
	if !ok {
		return
	}
	parts := map[string]json.RawMessage{"payload": entry.Payload, "attributes": entry.Attributes}
	text, known := parts[r.URL.Query().Get("part")]
	if !known {
		p.notice(w, http.StatusNotFound, "Not found", "The parts of a message are payload and attributes.")
		return
	}
	webpage.SendPlain(w, policy, text)
}
