package delivery

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Errors of an inbox. Match them with [errors.Is].
var (
	// ErrNotStarted means that the inbox is not started yet.
	ErrNotStarted = errors.New("delivery: the inbox is not started")
	// ErrStopped means that the inbox is stopped.
	ErrStopped = errors.New("delivery: the inbox is stopped")
)

// Defaults of [InboxOptions].
const (
	DefaultWorkers     = 16
	DefaultWorkTimeout = 30 * time.Second
	DefaultMinBackoff  = time.Second
	DefaultMaxBackoff  = 15 * time.Minute
	DefaultMaxAttempts = 100
)

// InboxOptions configures an [Inbox]. A zero field means its default.
type InboxOptions struct {
	// Workers is how many functions run concurrently in this process. Defaults to
	// [DefaultWorkers].
	Workers int
	// WorkersPerTopic is the maximum number of workers for the messages of one name,
	// see [WithName]. The last free worker is reserved for a name that has none, so
	// a name that is alone has at most Workers-1. Defaults to half of Workers, at
	// least one. It must not exceed Workers.
	WorkersPerTopic int
	// Timeout is the time after which the context of a function ends, unless
	// [WithTimeout] sets less. If a function does not return within about twice this
	// time, or its process dies, another process may handle the message. Defaults to
	// [DefaultWorkTimeout].
	Timeout time.Duration
	// MinBackoff and MaxBackoff bound the pause before a failed message is handled
	// again. The pause is random between zero and a ceiling, which is MinBackoff
	// after the first attempt and doubles up to MaxBackoff. Default to
	// [DefaultMinBackoff] and [DefaultMaxBackoff].
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is how often a message is handled before it becomes dead: it stays
	// in the store with its error until an operator retries or discards it. Defaults
	// to [DefaultMaxAttempts], which takes about half a day with the default
	// backoff. A negative number means no limit.
	MaxAttempts int
	// Keep is how long the key of a handled message is remembered, so that a late
	// copy is acknowledged and not handled. Defaults to [DefaultKeep].
	Keep time.Duration
	// Logger receives the log of the inbox, without payloads. Defaults to
	// slog.Default(). Problems of messages go to the logger of [WithLogger].
	Logger *slog.Logger
	// Observer receives the events of messages, including those of the requests to
	// handlers of [Queued]. Defaults to none.
	Observer Observer
}

// validate checks the options and fills in the defaults.
func (o *InboxOptions) validate() error {
	for name, value := range map[string]int64{
		"Workers": int64(o.Workers), "WorkersPerTopic": int64(o.WorkersPerTopic), "Timeout": int64(o.Timeout),
		"MinBackoff": int64(o.MinBackoff), "MaxBackoff": int64(o.MaxBackoff), "Keep": int64(o.Keep),
	} {
		if value < 0 {
			return fmt.Errorf("delivery: InboxOptions.%s is negative", name)
		}
	}
	o.Workers = cmp.Or(o.Workers, DefaultWorkers)
	o.WorkersPerTopic = cmp.Or(o.WorkersPerTopic, max(o.Workers/2, 1))
	o.Timeout = cmp.Or(o.Timeout, DefaultWorkTimeout)
	o.MinBackoff = cmp.Or(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, max(DefaultMaxBackoff, o.MinBackoff))
	o.MaxAttempts = cmp.Or(o.MaxAttempts, DefaultMaxAttempts)
	o.Keep = cmp.Or(o.Keep, DefaultKeep)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	switch {
	case o.WorkersPerTopic > o.Workers:
		return fmt.Errorf("delivery: InboxOptions.WorkersPerTopic is %d, more than the Workers, %d", o.WorkersPerTopic, o.Workers)
	case o.MaxBackoff < o.MinBackoff:
		return fmt.Errorf("delivery: InboxOptions.MaxBackoff is %s, less than MinBackoff, %s", o.MaxBackoff, o.MinBackoff)
	}
	return nil
}

// Inbox stores messages, acknowledges them and handles them afterwards, with
// backoff, deadlines and dead letters. [Queued] adds its functions. It is safe for
// concurrent use, and several processes can share a store. Create one with
// [NewInbox].
type Inbox struct {
	options InboxOptions
	store   outbox.Keeper
	log     *loglimit.Logger
	relay   *relay.Relay

	inserts inserts
	// token is the token of the leases under which messages are inserted.
	token string

	handlers handlers
	running  atomic.Int64 // number of running functions

	// force ends the contexts of functions.
	force     context.Context //nolint:containedctx // the functions live as long as the inbox
	cancelAll context.CancelFunc
	// stopping makes the relay end; ended is closed when it has.
	stopping  context.Context //nolint:containedctx // ended by Stop
	stopRelay context.CancelFunc
	ended     chan struct{}
	mu        sync.Mutex
	state     inboxState
	storing   sync.WaitGroup // calls that store messages; incremented under mu
}

type inboxState int

const (
	unstarted inboxState = iota
	started
	stopped
)

// NewInbox returns an inbox over a store. The store must have its own table or file,
// which no client uses as an outbox. The caller opens and closes the store. An error
// names the option.
func NewInbox(store outbox.Keeper, options InboxOptions) (*Inbox, error) {
	if typednil.Is(store) {
		return nil, errors.New("delivery: the store of the inbox is nil")
	}
	if err := options.validate(); err != nil {
		return nil, err
	}
	b := &Inbox{
		options: options, store: store, log: loglimit.NewLogger(options.Logger, "postoffice: "),
		handlers: newHandlers(), ended: make(chan struct{}), token: rand.Text(),
	}
	if sharer, ok := store.(outbox.CommitSharer); ok {
		b.inserts.alone = sharer.SharesCommits()
	}
	b.options.Observer = options.Observer.guarded(b.guard)
	b.force, b.cancelAll = context.WithCancel(context.Background())
	b.stopping, b.stopRelay = context.WithCancel(context.Background())
	finisher := finishing{store, options.Keep}
	settler := relay.NewSettler(relay.SettlerConfig{
		Store: finisher, Name: "inbox", Backoff: b.backoff, Guard: b.guard, Log: b.log,
		Tell: relay.Tell{Failed: func(string, []*office.Failure, bool) {}, Dead: b.dead},
	})
	b.relay = relay.New(relay.Config{
		Store: finisher, Settler: settler, Handle: b.handle, Skipped: b.handlers.missing,
		Breaker: func() circuit.State { return circuit.Closed }, MaxTime: options.Timeout,
		Slots: options.Workers, PerTopic: options.WorkersPerTopic, Reserved: true, BulkLimit: claimed * options.WorkersPerTopic,
		MaxUnsettled: unsettled * options.Workers,
		Guard:        b.guard, Log: b.log,
	})
	return b, nil
}

// claimed is how many messages of a name are claimed at a time for each of its
// workers. It is small because other processes cannot get these messages.
const claimed = 16

// unsettled is how many messages for each worker may be handled and not removed yet:
// after a kill they are handled again.
const unsettled = 8

// finishing is a store that remembers the keys of records when they are done.
type finishing struct {
	outbox.Keeper
	keep time.Duration
}

// Delete finishes records that are done.
func (f finishing) Delete(ctx context.Context, ids ...string) (int, error) {
	return f.Finish(ctx, f.keep, ids...)
}

// Start checks the store and begins to handle messages. It returns an error if the
// store cannot be used, and can be called again then. ctx bounds only the check.
// Start has no effect if the inbox is started, and returns [ErrStopped] if it is
// stopped.
//
// Until Start has returned, the handlers of [Queued] answer 503.
func (b *Inbox) Start(ctx context.Context) error {
	if err := b.enter(); !errors.Is(err, ErrNotStarted) {
		if err == nil {
			b.storing.Done()
		}
		return err
	}
	if err := b.store.Check(ctx); err != nil {
		return fmt.Errorf("delivery: inbox: %w", err)
	}
	if warner, ok := b.store.(outbox.Warner); ok {
		for _, warning := range warner.Warnings(ctx) {
			b.log.Warn("inbox", warning, "the inbox works, but "+warning)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case started:
		return nil
	case stopped:
		return ErrStopped
	}
	b.state = started
	var parts sync.WaitGroup
	parts.Go(func() { b.relay.Run(b.stopping, b.force) })
	parts.Go(b.forget)
	go func() {
		parts.Wait()
		close(b.ended)
	}()
	return nil
}

// Flush waits until every message accepted before was handled, has failed and waits
// for its retry, or is held by another process. It returns the error of ctx if that
// ends first, [ErrNotStarted] or [ErrStopped].
func (b *Inbox) Flush(ctx context.Context) error {
	if err := b.enter(); err != nil {
		return err
	}
	b.storing.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.stopping, func() { cancel(ErrStopped) })()
	if err := b.relay.Flush(ctx); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// stopGrace is how long Stop waits, after its context has ended, for functions to
// notice that theirs has ended, and for outcomes to be stored.
const stopGrace = time.Second

// Stop shuts the inbox down gracefully: it answers new messages with 503, calls no
// more functions, and waits for running ones. When ctx ends, the contexts of the
// functions end; Stop waits another second for them and returns the error of ctx if
// one still runs. Messages that were not handled stay in the store, for another
// process or the next start. Stop may be called again.
func (b *Inbox) Stop(ctx context.Context) error {
	b.mu.Lock()
	if b.state == unstarted {
		close(b.ended)
	}
	b.state = stopped
	b.mu.Unlock()
	b.stopRelay()
	defer b.cancelAll()
	stored := make(chan struct{})
	go func() {
		b.storing.Wait()
		close(stored)
	}()
	for _, end := range []<-chan struct{}{b.ended, stored} {
		select {
		case <-end:
			continue
		case <-ctx.Done():
		}
		b.cancelAll()
		grace := time.NewTimer(stopGrace)
		defer grace.Stop()
		select {
		case <-end:
		case <-grace.C:
			return fmt.Errorf("delivery: stopping the inbox: %d functions still run: %w", b.running.Load(), ctx.Err())
		}
	}
	return nil
}

// Stats counts the messages of all processes in the store: Pending wait or are being
// handled, Held are the part of these that a process holds, and Dead have failed
// permanently. It costs as much as the store's Stats.
func (b *Inbox) Stats(ctx context.Context) (outbox.Stats, error) { return b.store.Stats(ctx) }

// enter admits a call that stores a message. The caller calls storing.Done.
func (b *Inbox) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case unstarted:
		return ErrNotStarted
	case stopped:
		return ErrStopped
	}
	b.storing.Add(1)
	return nil
}

// backoff returns the pause before a message is handled again.
func (b *Inbox) backoff(f *office.Failure, attempts int) time.Duration {
	if f.Untried {
		return deliver.Jitter(missingPause, missingPause, 1)
	}
	return deliver.Jitter(b.options.MinBackoff, b.options.MaxBackoff, attempts)
}

// Intervals and limits of background work.
const (
	// missingPause is how long a process ignores messages for which it has no
	// function.
	missingPause = 10 * time.Second
	// forgetEvery is the interval at which expired keys are removed, forgetMany at a
	// time.
	forgetEvery = time.Minute
	forgetMany  = 1000
)

// forget removes expired keys from the store.
func (b *Inbox) forget() {
	ticker := time.NewTicker(min(forgetEvery, max(b.options.Keep, time.Second)))
	defer ticker.Stop()
	for {
		for n := forgetMany; n == forgetMany && b.stopping.Err() == nil; {
			err := b.guard("forgetting keys", func() (err error) {
				ctx, cancel := context.WithTimeout(b.stopping, relay.StoreTimeout)
				defer cancel()
				n, err = b.store.Forget(ctx, forgetMany)
				return err
			})
			if err != nil {
				n = 0
				if b.stopping.Err() == nil {
					b.log.Warn("inbox", "forget", "expired keys cannot be removed from the inbox", "error", err)
				}
			}
		}
		select {
		case <-b.stopping.Done():
			return
		case <-ticker.C:
		}
	}
}

// guard calls code of the app. It logs a panic and returns it as an error.
func (b *Inbox) guard(doing string, call func() error) error { return guard(b.log, doing, call) }

// handlers are the functions of an inbox, by name.
type handlers struct {
	mu     *sync.RWMutex
	byName map[string]*endpoint
	// unknown are names of messages without a function, with the time of the next
	// check.
	unknown map[string]time.Time
}

func newHandlers() handlers {
	return handlers{mu: &sync.RWMutex{}, byName: map[string]*endpoint{}, unknown: map[string]time.Time{}}
}

// add adds a handler.
func (h *handlers) add(name string, e *endpoint) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byName[name] != nil {
		return fmt.Errorf("delivery: the inbox already has a handler named %q: set WithName", name)
	}
	h.byName[name] = e
	delete(h.unknown, name)
	return nil
}

// find returns the handler of a name. If there is none, it marks the name as missing
// for a while.
func (h *handlers) find(name string) *endpoint {
	h.mu.RLock()
	e := h.byName[name]
	h.mu.RUnlock()
	if e == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unknown[name] = time.Now().Add(missingPause)
	}
	return e
}

// missing returns the names whose messages are not claimed now.
func (h *handlers) missing() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unknown) == 0 {
		return nil
	}
	now := time.Now()
	var names []string
	for name, until := range h.unknown {
		if now.Before(until) {
			names = append(names, name)
		} else {
			delete(h.unknown, name)
		}
	}
	slices.Sort(names)
	return names
}
