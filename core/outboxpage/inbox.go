package outboxpage

import (
	"context"
	"net/http"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultInboxPath is the default of Options.Path for the page of an inbox.
const DefaultInboxPath = "/postoffice/inbox/"

// Inbox returns the page of an inbox of core/delivery: it shows the messages that the
// app has acknowledged but not handled yet. Mount it at Options.Path and all paths
// below. It is like the page of an outbox, without the server, the circuit breakers
// and the last hour. Retried messages are handled within two seconds.
//
// store is the store of the inbox. An error is core.ErrInvalidConfig and names the
// invalid field.
func Inbox(store outbox.Store, options Options) (http.Handler, error) {
	if typednil.Is(store) {
		return nil, invalid("store", "is nil")
	}
	if options.Path == "" {
		options.Path = DefaultInboxPath
	}
	if err := options.validate(); err != nil {
		return nil, err
	}
	p := &page{box: store, options: options, words: inboxWords}
	return p.handler(), nil
}

// box has the methods of an outbox or inbox that the page uses.
type box interface {
	Stats(ctx context.Context) (outbox.Stats, error)
	List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error)
	Count(ctx context.Context, selection outbox.Selection) (int, error)
	Retry(ctx context.Context, selection outbox.Selection) (int, error)
	Discard(ctx context.Context, selection outbox.Selection) (int, error)
}

// words are the texts that differ between the pages of an outbox and an inbox.
type words struct {
	// Box is the name of the store and Title the heading of the list. Deliver and
	// Delivered are the verb for success, Posted describes a message in progress.
	Box, Title, Deliver, Delivered, Posted string
	// Footer explains which messages the page lists.
	Footer string
}

var (
	outboxWords = words{
		Box: "outbox", Title: "Undelivered messages", Deliver: "deliver", Delivered: "delivered", Posted: "posted right now may still arrive",
		Footer: "Messages that the Postoffice server has not accepted yet. Delivered messages disappear from the list.",
	}
	inboxWords = words{
		Box: "inbox", Title: "Unhandled messages", Deliver: "handle", Delivered: "handled", Posted: "handled right now may still take effect",
		Footer: "Messages that the app has acknowledged but not handled yet. Handled messages disappear from the list.",
	}
)
