package outboxpage

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// pageRows is the number of messages on a page of the list.
const pageRows = 50

// refreshSeconds is how often a browser without JavaScript reloads a list, if the
// viewer turned this on.
const refreshSeconds = 10

// row is a message in a list.
type row struct {
	// ID is for display, Key for forms: it is escaped, because browsers change line
	// ends in forms.
	ID, Key         string
	Topic           string
	Link, TopicLink string
	State           webpage.Badge
	Attempts        int
	Next, Age       webpage.Moment
	Error           errorText
	Preview         string
	Marked          bool
}

// listBody is the content of the list.
type listBody struct {
	// Server and Hour are nil for an inbox, which has no client.
	Server *serverBody
	Stats  *statsBody
	// StatsError is the reason why there are no counts.
	StatsError string
	Hour       *hourBody
	// Topics is nil if the store does not count by topic.
	Topics *topicsBody

	Filter   filter
	Filtered bool
	// Clear is the address of the list without a filter.
	Clear     string
	Rows      []row
	All       string
	ListError string
	// First and Next are addresses of other pages of the list; empty if there are
	// none.
	First, Next string
	// Retry and Discard are the addresses of the forms.
	Retry, Discard string
	// MarkAll is the address of the page with every message selected.
	MarkAll string
	// Payloads makes the list show the beginning of payloads. Toggle is the address
	// that shows or hides them; empty with Options.HidePayloads.
	Payloads bool
	Toggle   string
}

// statsBody has the counts. Waiting includes messages that are retried.
type statsBody struct {
	Waiting, Held, Dead int
	Bytes               string
	Oldest              webpage.Moment
}

// list shows the list of messages, the main page.
func (p *page) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f, err := readFilter(query)
	after := query.Get("after")
	if err == nil && after != "" {
		err = checkID(after)
	}
	if err != nil {
		p.notice(w, http.StatusBadRequest, "Invalid request", "The list cannot be shown: "+err.Error()+".")
		return
	}
	payloads := !p.options.HidePayloads && query.Get("payloads") == "show"
	allTopics := query.Get("topics") == "all"
	kept := func(payloads bool, pairs ...string) string {
		if payloads {
			pairs = append(pairs, "payloads", "show")
		}
		if allTopics {
			pairs = append(pairs, "topics", "all")
		}
		return f.link("./", pairs...)
	}
	body := listBody{
		Filter: f, Filtered: f.selects(), Clear: f.of("", "").link("./"), All: f.words(p.words.Deliver), Payloads: payloads,
		Retry: f.link("retry", "after", after), Discard: f.link("discard", "after", after),
		MarkAll: kept(payloads, "after", after, "mark", "page"),
	}
	if p.client != nil {
		hour := lastHour(p.hour(), p.now())
		body.Hour = &hour
	}
	if !p.options.HidePayloads {
		body.Toggle = kept(!payloads, "after", after)
	}
	if after != "" {
		body.First = kept(payloads)
	}
	// The queries run concurrently, so that their timeouts do not add up.
	var asking sync.WaitGroup
	var panicked [3]any
	apart := func(at int, ask func()) {
		asking.Go(func() {
			defer func() { panicked[at] = recover() }()
			ask()
		})
	}
	if p.client != nil {
		apart(0, func() {
			server := p.server(r.Context())
			body.Server = &server
		})
	}
	apart(1, func() { p.count(r.Context(), &body) })
	apart(2, func() {
		body.Topics = p.topicList(r.Context(), f, allTopics, kept(payloads, "after", after, "topics", "all"))
	})
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	asked := outbox.Query{State: f.state(), Topic: f.Topic, After: after, Limit: pageRows + 1, MaxPayload: -1}
	if payloads {
		asked.MaxPayload = webpage.ReadPreview
	}
	entries, err := p.box.List(ctx, asked)
	asking.Wait()
	if reason := cmp.Or(panicked[0], panicked[1], panicked[2]); reason != nil {
		panic(reason) // in the request's goroutine, where the server recovers
	}
	status := http.StatusOK
	if err != nil {
		body.ListError = reason(err)
		status = http.StatusServiceUnavailable
	}
	if len(entries) > pageRows {
		entries = entries[:pageRows]
		body.Next = kept(payloads, "after", entries[pageRows-1].ID)
	}
	now := p.now()
	for _, entry := range entries {
		line := p.row(f, entry.Record, after, now)
		line.Marked = query.Get("mark") == "page"
		if payloads {
			line.Preview = webpage.Preview(entry.Payload)
		}
		body.Rows = append(body.Rows, line)
	}
	page := content{Title: p.words.Title, Self: kept(payloads, "after", after), Live: true, Note: noteOf(query, p.words.Delivered), Body: body}
	if f.Refresh {
		page.Refresh = refreshSeconds
	}
	f.Refresh = !f.Refresh
	page.Toggle = kept(payloads, "after", after)
	p.render(w, status, "list", page)
}

// row returns the row of a message. Its links lead back to this page.
func (p *page) row(f filter, record outbox.Record, after string, now time.Time) row {
	return row{
		ID: webpage.Shown(record.ID, webpage.MaxName), Key: url.PathEscape(record.ID), Topic: record.Topic,
		Link:      f.link("message", "id", record.ID, "after", after),
		TopicLink: f.of(record.Topic, f.State).link("./"),
		State:     stateOf(record, now), Attempts: record.Attempts,
		Next: nextAttempt(record, now), Age: momentOf(record.CreatedAt, now, ago(now.Sub(record.CreatedAt))),
		Error: errorOf(record.LastError, record.Topic),
	}
}

// count fills in the counts.
func (p *page) count(ctx context.Context, body *listBody) {
	stats, err := p.stats.get(ctx, storeTimeout, p.box.Stats, keepCounts)
	if err != nil {
		body.StatsError = reason(err)
		return
	}
	body.Stats = &statsBody{Waiting: max(stats.Pending-stats.Held, 0), Held: stats.Held, Dead: stats.Dead, Bytes: size(stats.Bytes)}
	if !stats.Oldest.IsZero() {
		body.Stats.Oldest = momentOf(stats.Oldest, p.now(), span(stats.Age))
	}
}
