package core

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// stopMargin is how long before the deadline of Stop the requests under way
// are broken off, so that their messages can still be given back.
const stopMargin = time.Second

// Client publishes messages to one Postoffice server. It is safe for
// concurrent use. Several clients can live in one process. The methods of a nil
// Client return ErrInvalidConfig or, where they have no error, nothing.
type Client struct {
	cfg       *settings
	log       *limitedLogger
	transport *transport
	limits    *limits
	relay     *relay // nil without an outbox
	batcher   *batcher
	ensured   pacer
	outcomes  outcomes
	strangers strangers

	throughput throughput
	readiness  readiness
	listed     listed

	room waitingRoom // of the outbox

	// stopping ends the background work; hard breaks off its requests too.
	stopping, hard             context.Context
	cancelStopping, cancelHard context.CancelFunc
	background                 sync.WaitGroup
	stopped                    chan struct{} // closed when everything has ended

	starting sync.Mutex // held by Start
	started  atomic.Bool

	mu       sync.RWMutex
	closed   bool
	mounted  atomic.Bool    // Routes was called
	routes   []Route        // beside the recovery endpoints
	inFlight sync.WaitGroup // calls that publish
}

// NewClient checks the configuration and makes a client of it. Nothing is
// sent before Start or the first Publish. An error is ErrInvalidConfig and
// names every field at fault.
func NewClient(config Config) (*Client, error) {
	cfg, err := config.resolve()
	if err != nil {
		return nil, err
	}
	cfg.logger = guardLogger(cfg.logger)
	c := &Client{
		cfg:     cfg,
		log:     newLimitedLogger(cfg.logger),
		limits:  newLimits(cfg.bulkLimit, bulkBytes),
		stopped: make(chan struct{}),

		throughput: throughput{born: time.Now()},
	}
	cfg.observer = guardObserver(cfg.observer, c.panicked)
	c.batcher = newBatcher(c, cfg.batching)
	if c.transport, err = newTransport(cfg, newBreaker(c.breakerChanged)); err != nil {
		return nil, err
	}
	c.transport.explainUnknownTopic = c.explainUnknownTopic
	c.stopping, c.cancelStopping = context.WithCancel(context.Background())
	c.hard, c.cancelHard = context.WithCancel(context.Background())
	if cfg.outbox != nil {
		c.relay = newRelay(c, cfg.outbox)
	}
	return c, nil
}

// Start sets up the topics and consumers and begins to deliver what is in
// the outbox. It belongs in the app's initialization, and the adapters'
// Register calls it. Publishing works before Start, too.
//
// Start returns an error when the outbox cannot be used, when ctx ends
// first, or, with Config.SetupRequired, when setup fails. Otherwise a failed
// setup is logged and tried again in the background until it succeeds or
// the client is stopped. Starting a started client does nothing; starting a
// stopped one returns ErrClosed.
func (c *Client) Start(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.started.Load() {
		return c.goOn(func() {})
	}
	if c.cfg.outbox != nil {
		if err := c.cfg.outbox.Check(ctx); err != nil {
			return outboxError(err)
		}
	}
	report, err := c.Setup(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("postoffice: start: %w", ctx.Err())
	}
	if err != nil && c.cfg.setupRequired {
		return err
	}
	return c.goOn(func() {
		c.started.Store(true)
		if err != nil {
			c.background.Go(func() { c.keepSettingUp(c.stopping, report) })
		}
		if c.relay != nil {
			c.background.Go(func() { c.relay.run(c.stopping, c.hard) })
		}
	})
}

// goOn does something unless the client is closed.
func (c *Client) goOn(do func()) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	do()
	return nil
}

// Flush posts what waits in memory and returns when every message that was
// accepted before the call is delivered or stored. Messages that a request
// holds back by Options.FlushOn are not accepted before it ends. The error
// is that of ctx, when it ends first, or ErrUndelivered if the client was
// stopped meanwhile and some of the messages were lost.
func (c *Client) Flush(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.batcher.flush(ctx)
}

// Stop has the client accept nothing more, waits for the calls that publish
// and for the requests under way, delivers what waits in memory and ends the
// background work. It returns nil if every accepted message is delivered or
// stored; what is stored stays in the outbox. A second before the deadline of
// ctx, or half the time it gives, the requests of the background work are broken
// off, and their messages stored; calls that publish end by themselves. When ctx
// ends before everything else has, Stop returns an error; the rest ends by
// itself, within the configured timeouts, which grow with large messages.
// Without an outbox, or with one that cannot be used, it returns ErrUndelivered
// when messages of [Memory] were left that the server had not taken; without a
// deadline it waits until they are delivered or stored.
//
// Stop may be called more than once, at the same time too: every call waits.
// The outbox is not closed: whoever opened it closes it after Stop.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.batcher.stop()
		go c.shutDown()
	}
	c.mu.Unlock()
	hurry, cancel := beforeDeadline(ctx)
	defer cancel()
	select {
	case <-c.stopped:
		return c.left()
	case <-hurry.Done():
		c.cancelHard()
		c.batcher.hurry()
	}
	select {
	case <-c.stopped:
		return c.left()
	case <-ctx.Done():
		return fmt.Errorf("postoffice: stop: %w", context.Cause(ctx))
	}
}

// left tells, when everything has ended, whether messages were lost.
func (c *Client) left() error {
	if n := c.batcher.undelivered(); n > 0 {
		return fmt.Errorf("%sstop: %d messages: %w", prefix, n, inner{ErrUndelivered})
	}
	return nil
}

// beforeDeadline makes a context that ends a little before ctx does.
func beforeDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(stopMargin, time.Until(deadline)/2)))
}

// shutDown ends everything in the order in which it depends on each other.
func (c *Client) shutDown() {
	c.cancelStopping()
	c.inFlight.Wait()
	c.batcher.close()
	c.background.Wait()
	c.cancelHard()
	c.transport.close()
	close(c.stopped)
}

// enter counts a call that publishes; leave is to be called at its end.
func (c *Client) enter() error {
	return c.goOn(func() { c.inFlight.Add(1) })
}

func (c *Client) leave() { c.inFlight.Done() }

// breakerChanged notes a change of the circuit breaker.
func (c *Client) breakerChanged(state BreakerState) {
	switch state {
	case BreakerOpen:
		fate := "messages go to the outbox at once"
		if c.cfg.outbox == nil {
			fate = "there is no outbox, so messages are not accepted, or wait in memory"
		}
		c.log.warn("breaker", "open", "circuit breaker has opened: the server fails, and "+fate)
	case BreakerClosed:
		c.log.info("breaker", "closed", "circuit breaker has closed: the server is back")
		c.relay.wake()
	}
	if c.cfg.observer.Breaker != nil {
		c.cfg.observer.Breaker(state)
	}
}
