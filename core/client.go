package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/circuit"
	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/queue"
	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/internal/share"
	"github.com/postoffice-go/postoffice/core/internal/storeguard"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// stopMargin is how long before the deadline of Stop the requests in progress
// are aborted, so that their messages can still be stored.
const stopMargin = time.Second

const (
	// relaySlots is the number of concurrent posts of the relay.
	relaySlots = 8
	// relayLease is the minimum lease of rows that the relay has claimed.
	relayLease = time.Minute
)

// Client publishes messages to one Postoffice server. It is safe for concurrent
// use. A process can have several clients. The methods of a nil Client return
// ErrInvalidConfig; methods without an error do nothing.
type Client struct {
	cfg       *settings
	events    *events
	office    *office.Office
	queue     *queue.Queue
	relay     *relay.Relay      // nil without an outbox
	outbox    *storeguard.Store // nil without an outbox
	pipeline  *pipeline
	setup     *setup
	recovery  *recovery
	readiness readiness
	routes    *routes

	gate gate
	// stopping ends the background work; force also aborts its requests.
	stopping, force             context.Context
	cancelStopping, cancelForce context.CancelFunc
	background                  sync.WaitGroup
	stopped                     chan struct{} // closed when everything has ended

	starting sync.Mutex // held by Start
	started  atomic.Bool
}

// NewClient checks the configuration and returns a client. Nothing is sent
// before Start or the first Publish. The error is ErrInvalidConfig and names
// every invalid field.
func NewClient(config Config) (*Client, error) {
	cfg, err := config.resolve()
	if err != nil {
		return nil, err
	}
	log := loglimit.NewLogger(guardLogger(cfg.logger), prefix)
	guard := guard{log}
	c := &Client{
		cfg: cfg,
		events: &events{
			log: log, observer: guardObserver(cfg.observer, guard.panicked), throughput: throughput{born: time.Now()},
		},
		stopped: make(chan struct{}),
	}
	c.stopping, c.cancelStopping = context.WithCancel(context.Background())
	c.force, c.cancelForce = context.WithCancel(context.Background())
	if err := c.build(guard); err != nil {
		return nil, fmt.Errorf("%s%w", prefix, err)
	}
	return c, nil
}

// build creates the parts of the client. Each part receives values and
// functions, none receives the client.
func (c *Client) build(guard guard) (err error) {
	cfg, events := c.cfg, c.events
	strangers := &strangers{known: cfg.topics, log: events.log}
	c.office, err = office.New(office.Config{
		URL: cfg.baseURL, Authorization: cfg.authorization, Transport: cfg.transport(),
		Timeout: cfg.timeout, BulkTimeout: cfg.bulkTimeout,
		ErrorOf: errorOf, Explain: strangers.explain, Observe: events.send(),
		Changed: func(state circuit.State) {
			events.breaker(BreakerState(state), cfg.outbox != nil)
			switch state {
			case circuit.Closed:
				c.relay.Wake()
			case circuit.Open:
				c.pipeline.sharer.Refuse(office.Refused())
			}
		},
	})
	if err != nil {
		return err
	}
	c.setup = &setup{cfg: cfg, office: c.office, events: events, guard: guard, inBackground: func(run func(context.Context)) {
		c.background.Go(func() { run(c.stopping) })
	}}
	sender := deliver.NewSender(deliver.Config{
		Office: c.office, BulkLimit: cfg.bulkLimit, Outbox: cfg.outbox != nil, Guard: guard.call,
		RestoreTopic: c.setup.restoreTopic, RestoredSince: c.setup.restoredSince,
	})
	c.pipeline = &pipeline{
		gate: &c.gate, events: events, encoders: newEncoders(cfg.marshal, cfg.metadataInPayload),
		office: c.office, sender: sender, bulkTimeout: cfg.bulkTimeout, stopping: c.stopping.Done(),
		sharer: share.New(share.Config{
			PerGroup: cfg.postsPerTopic, InAll: cfg.maxPosts, Messages: cfg.bulkLimit, Timeout: cfg.timeout, BulkTimeout: cfg.bulkTimeout,
			TakesFew: sender.TakesFew, Deliver: sender.DeliverInBackground, Delivered: events.delivered, Late: c.office.Late, IsOpen: c.office.IsOpen,
			Origin: events.origin, Clock: events.clock, Go: c.background.Go,
		}),
	}
	queueConfig := queue.Config{
		Payloads: cfg.batching.Payloads, Bytes: cfg.batching.Bytes, Delay: cfg.batching.Delay, InFlight: cfg.batching.InFlight,
		MaxMessages: cfg.batching.MaxMessages, MaxBytes: cfg.batching.MaxBytes, MaxAge: cfg.batching.MaxAge,
		Deliver: sender.DeliverInBackground, Reusable: c.office.Owned(), Go: c.background.Go, Force: c.force, Log: events.log,
		Tell: queue.Tell{
			Delivered: events.delivered, Refused: events.refused, Aged: events.aged,
			Failed: func(topic string, failures []*office.Failure) { events.failed(topic, failures, false) },
		},
	}
	if cfg.outbox != nil {
		queueConfig.Outbox = c.buildStorage(guard, sender)
	}
	c.queue = queue.New(queueConfig)
	c.pipeline.queue = c.queue
	c.recovery = &recovery{cfg: cfg, events: events}
	c.routes = &routes{cfg: cfg, log: events.log, recovery: c.RecoveryHandler()}
	return nil
}

// buildStorage creates the parts of a client with an outbox, and the outbox
// functions of the queue.
func (c *Client) buildStorage(guard guard, sender *deliver.Sender) *queue.Outbox {
	events := c.events
	store := storeguard.New(c.cfg.outbox, func(state circuit.State) {
		events.outboxBreaker(BreakerState(state))
		if state == circuit.Closed {
			c.relay.Wake()
		}
	})
	c.outbox = store
	settler := relay.NewSettler(relay.SettlerConfig{
		Store: store, Name: "outbox", Backoff: relay.Backoff, Guard: guard.call, Log: events.log,
		Tell: relay.Tell{Failed: events.failedStored, Dead: events.dead},
	})
	c.relay = relay.New(relay.Config{
		Store: store, Settler: settler, Deliver: sender.DeliverInBackground, Delivered: events.delivered,
		Breaker: c.office.State, MaxTime: c.office.MaxTime(), MinLease: relayLease,
		Slots: relaySlots, PerTopic: relaySlots / 2, BulkLimit: c.cfg.bulkLimit, Rate: c.cfg.relayRate, Guard: guard.call, Log: events.log,
	})
	storage := newStorage(store, c.stopping.Done(), c.force.Err)
	c.pipeline.relay, c.pipeline.storage = c.relay, storage
	return &queue.Outbox{
		Commit: func(ctx context.Context, batches []queue.Held) error {
			return guard.call("storing messages", func() error { return storage.hold(ctx, c.relay.Lease(), batches) })
		},
		PostUntil: func(committed time.Time) time.Time { return c.relay.PostUntil(committed).Add(-relay.StoreTimeout) },
		Settle: func(ctx context.Context, b *message.Batch, attempts int, outcome *deliver.Outcome) {
			rows := make([]relay.Row, len(b.Messages))
			for i := range rows {
				rows[i] = relay.Row{ID: b.Messages[i].ID, Token: storage.token, Attempts: attempts}
			}
			if settler.Settle(ctx, relay.Settlement{Topic: b.Topic, Rows: rows, Outcome: outcome}) {
				c.relay.Wake()
			}
		},
		Remove: settler.Remove,
		Store: func(ctx context.Context, b *message.Batch, tried int, outcome *deliver.Outcome) error {
			return guard.call("storing messages", func() error { return c.pipeline.store(ctx, b, tried, outcome) })
		},
	}
}

// Start sets up the topics and consumers and starts the delivery of messages in
// the outbox. Call it when the app initializes; the adapters' Register calls
// it. Publishing also works before Start, but the messages in the outbox wait for
// it. Until Start has succeeded, Ready returns ErrNotStarted.
//
// Start returns an error if the outbox cannot be used, if ctx ends first, or,
// with Config.SetupRequired, if setup fails. Otherwise a failed setup is logged
// and retried in the background until it succeeds or the client is stopped.
// Start does nothing if the client is already started, and returns ErrClosed if
// it is stopped.
func (c *Client) Start(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.started.Load() {
		return c.gate.ifOpen(func() {})
	}
	if c.cfg.outbox != nil {
		if err := c.cfg.outbox.Check(ctx); err != nil {
			return outboxError(err)
		}
		if warner, ok := c.cfg.outbox.(outbox.Warner); ok {
			for _, warning := range warner.Warnings(ctx) {
				c.events.log.Warn("outbox", warning, "outbox works, but "+warning)
			}
		}
	}
	report, err := c.Setup(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("postoffice: start: %w", ctx.Err())
	}
	if err != nil && c.cfg.setupRequired {
		return err
	}
	return c.gate.ifOpen(func() {
		c.started.Store(true)
		if err != nil {
			topics, consumers := c.setup.failures(report)
			c.setup.inBackground(func(ctx context.Context) { c.setup.keepTrying(ctx, topics, consumers) })
		}
		if c.relay != nil {
			c.background.Go(func() { c.relay.Run(c.stopping, c.force) })
		}
	})
}

// Flush posts the messages in memory and returns when every message that was
// accepted before the call is delivered or stored. Messages that a request
// holds for Options.FlushOn count as accepted when the request ends. Flush
// returns the error of ctx if ctx ends first, and ErrUndelivered if the client
// was stopped and some of the messages were lost.
func (c *Client) Flush(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	lost, err := c.queue.Flush(ctx)
	if lost > 0 {
		return fmt.Errorf("%sflush: %d messages: %w", prefix, lost, inner{ErrUndelivered})
	}
	return err
}

// Stop shuts the client down gracefully: it rejects new messages, waits for
// calls in progress, flushes the queue and stops the relay. It returns nil if
// every accepted message is delivered or stored; stored messages stay in the
// outbox.
//
// One second before the deadline of ctx, or after half of the remaining time if
// that is less than two seconds, Stop aborts the background requests and stores
// their messages; it does not abort calls that publish. If ctx ends before the
// shutdown is complete, Stop returns an error and the shutdown continues in the
// background, within the configured timeouts, which grow with large messages.
// If there is no outbox, or it cannot be used, Stop returns ErrUndelivered when
// the server has not accepted all messages of [Memory]. Without a deadline it
// waits until they are delivered or stored.
//
// Stop may be called several times, also concurrently: every call waits. It
// does not close the outbox: the code that opened it closes it after Stop.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	c.gate.close(func() {
		c.queue.Stop()
		go c.shutDown()
	})
	soon, cancel := beforeDeadline(ctx)
	defer cancel()
	select {
	case <-c.stopped:
		return c.left()
	case <-soon.Done():
		c.cancelForce()
		c.queue.Expedite()
	}
	select {
	case <-c.stopped:
		return c.left()
	case <-ctx.Done():
		return fmt.Errorf("postoffice: stop: %w", context.Cause(ctx))
	}
}

// left returns an error if messages were lost. It is called when everything has
// ended.
func (c *Client) left() error {
	if n := c.queue.Lost(); n > 0 {
		return fmt.Errorf("%sstop: %d messages: %w", prefix, n, inner{ErrUndelivered})
	}
	return nil
}

// beforeDeadline returns a context that ends a little before ctx.
func beforeDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(stopMargin, time.Until(deadline)/2)))
}

// shutDown stops the parts in the order of their dependencies.
func (c *Client) shutDown() {
	c.cancelStopping()
	c.gate.calls.Wait()
	c.pipeline.units.discardAll()
	c.queue.Close()
	c.background.Wait()
	c.cancelForce()
	c.office.Close()
	close(c.stopped)
}

// present returns an error for a nil client, which means that the caller
// ignored the error of NewClient.
func (c *Client) present() error {
	if c == nil {
		return misplaced("client", "is nil; check the error of NewClient")
	}
	return nil
}

// gate admits calls until the client is stopped.
type gate struct {
	mu     sync.RWMutex
	closed bool
	calls  sync.WaitGroup // calls that publish
}

// ifOpen calls a function unless the gate is closed.
func (g *gate) ifOpen(do func()) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return ErrClosed
	}
	do()
	return nil
}

// enter counts a call that publishes. Each enter needs a leave.
func (g *gate) enter() error { return g.ifOpen(g.stay) }

// stay is like enter, for a caller that has already entered.
func (g *gate) stay() { g.calls.Add(1) }

func (g *gate) leave() { g.calls.Done() }

// close closes the gate. The first call also calls do.
func (g *gate) close(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		do()
	}
}
