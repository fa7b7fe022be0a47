package outboxpage

import (
	"context"
	"net/http"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// DefaultInboxPath is where the page of an inbox is mounted unless Options.Path says
// otherwise.
const DefaultInboxPath = "/postoffice/inbox/"

// Inbox returns the page of an inbox, that of core/delivery: the messages that the
// app has acknowledged and not handled yet, to be mounted at Options.Path and
// everything below it. It is the page of an outbox without the client's part: the
// server, the circuit breaker and the last hour. Retried messages are handled within
// two seconds.
//
// The store is that of the inbox. An error is core.ErrInvalidConfig and names the
// field at fault.
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

// box is what the page needs of an outbox or an inbox.
type box interface {
	Stats(ctx context.Context) (outbox.Stats, error)
	List(ctx context.Context, query outbox.Query) ([]outbox.Entry, error)
	Count(ctx context.Context, selection outbox.Selection) (int, error)
	Retry(ctx context.Context, selection outbox.Selection) (int, error)
	Discard(ctx context.Context, selection outbox.Selection) (int, error)
}

// words are the texts in which the page of an inbox differs from that of an outbox.
type words struct {
	// Box is the name of the store, Title the heading of the list, Deliver what
	// becomes of a message, Delivered what has, and Posted what goes on.
	Box, Title, Deliver, Delivered, Posted string
	// Footer says what messages are here.
	Footer string
}

var (
	outboxWords = words{
		Box: "outbox", Title: "Undelivered messages", Deliver: "deliver", Delivered: "delivered", Posted: "posted at this moment may arrive",
		Footer: "Messages that the Postoffice server has not taken yet. What it takes disappears from here.",
	}
	inboxWords = words{
		Box: "inbox", Title: "Unhandled messages", Deliver: "handle", Delivered: "handled", Posted: "handled at this moment may have its effect",
		Footer: "Messages that the app has acknowledged and not handled yet. What it handles disappears from here.",
	}
)
