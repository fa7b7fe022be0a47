//go:build unix

package faults

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// appVariable in the environment makes the test binary the app under test;
// its value is an app in JSON.
const appVariable = "POSTOFFICE_FAULTS_APP"

const (
	// topic is where everything is published.
	topic = "orders"
	// bulkLimit is how many messages go into one request: few, so that many
	// requests are under way when a fault happens.
	bulkLimit = 50
	// inFlight is how many messages one app has between the post and the
	// deletion of the row at most: four batches of messages that were stored
	// and posted from memory, and what the relay has claimed, four requests.
	inFlight = (4 + 4) * bulkLimit
	// bulkTimeout is how long the app waits for the answer to a request.
	bulkTimeout = 2 * time.Second
)

// app says what an app under test does.
type app struct {
	// Store and Place say what outbox it has: the name of a store in the
	// table, and where it is.
	Store, Place string
	// Server is the URL of the fake server.
	Server string
	// Run begins the id of each message.
	Run string
	// Listen makes an app that receives messages in an inbox at this address, in place
	// of publishing any: see inbox_app_test.go.
	Listen string
	// Publishers is how many goroutines publish. Zero makes an app of which
	// only the relay works.
	Publishers int
	// Modes are how they publish: the first publisher in the first mode, and
	// so on, around.
	Modes []core.Mode
	// Transactions has them publish in transactions with a row of the table
	// that TestKilledInTransaction makes, in no mode.
	Transactions bool
	// Rate is how many messages they publish in a second, together; zero for
	// as many as they can.
	Rate int
	// Posts is how many requests of a topic are in progress before calls share;
	// zero for the default.
	Posts int
	// RelayRate is the limit of the relay; zero for none.
	RelayRate int
	// Lease shortens the leases of the claims, if it is positive.
	Lease time.Duration
	// Crash is the point at which the app kills itself, the time after
	// CrashAt times before; see crashpoint_test.go.
	Crash   string
	CrashAt int
	// Watched has the app tell what it posts and deletes.
	Watched bool
	// StopWithin is the deadline of Stop.
	StopWithin time.Duration
}

// What an app writes, one line each; the rest of the line is about that.
const (
	lineStarted  = "started"  // the client was started
	lineAccepted = "accepted" // the state of the receipt, the message's id and the time in Unix microseconds
	lineRefused  = "refused"  // Publish has failed: the error
	lineQuiet    = "quiet"    // nothing is being published: the number of goroutines
	lineStopping = "stopping" // a signal has come
	lineStopped  = "stopped"  // Stop has returned: how long it took
	lineClaimed  = "claimed"  // of a watched app: so many rows were claimed
	linePosted   = "posted"   // of a watched app: ids in a request about to be sent
	lineMissing  = "missing"  // of a watched app: ids in a request that got no answer
	lineRejected = "rejected" // of a watched app: ids in a request that the server did not take
	lineDeleted  = "deleted"  // of a watched app: ids whose rows are deleted
	lineHandled  = "handled"  // of an app that receives: the id of a message that was handled
)

// say writes a line at once: a written line is known to the test even if
// the app is killed right after.
func say(kind string, about ...string) {
	// One call of write, which holds the lock of the file.
	_, _ = os.Stdout.WriteString(strings.Join(append([]string{kind}, about...), " ") + "\n")
}

// runApp is the main function of the app under test. It ends when it is told
// to, by a line on its input, by SIGTERM, or by the end of its input, so that
// it does not outlive the test.
func runApp(text string) error {
	var a app
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	w := newWatch(a)
	store, closeStore, err := kinds[a.Store].open(context.Background(), a.Place, w)
	if err != nil {
		return err
	}
	if a.Listen != "" {
		return a.receive(ctx, store)
	}
	client, err := core.NewClient(a.config(w, store))
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	say(lineStarted)

	publishers := &publishers{app: a, client: client}
	if a.Transactions {
		if publishers.db, err = kinds[a.Store].openDatabase(a.Place); err != nil {
			return err
		}
		defer func() { _ = publishers.db.Close() }()
	}
	publishers.start()
	commands := make(chan string)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			commands <- lines.Text()
		}
		os.Exit(3) // the test has gone
	}()
	for stopping := false; !stopping; {
		select {
		case <-ctx.Done():
			say(lineStopping)
			stopping = true
		case command := <-commands:
			switch command {
			case "hush":
				publishers.stop()
				w.closeIdleConnections()
				say(lineQuiet, strconv.Itoa(runtime.NumGoroutine()))
			case "publish":
				publishers.start()
			case "stop":
				stopping = true
			default:
				return fmt.Errorf("unknown command %q", command)
			}
		}
	}
	begun := time.Now()
	deadline, cancelStop := context.WithTimeout(context.Background(), a.StopWithin)
	defer cancelStop()
	if err := client.Stop(deadline); err != nil {
		return err
	}
	took := time.Since(begun)
	publishers.stop()
	if err := closeStore(); err != nil {
		return err
	}
	say(lineStopped, took.String())
	return nil
}

// config makes the configuration of the app's client.
func (a app) config(w *watch, store outbox.Store) core.Config {
	config := core.Config{
		URL:           a.Server,
		Topics:        []string{topic},
		OriginHost:    "http://user:secret@127.0.0.1:9",
		BulkLimit:     bulkLimit,
		BulkTimeout:   bulkTimeout,
		PostsPerTopic: a.Posts,
		RelayRate:     a.RelayRate,
		Outbox:        w.store(shorten(store, a.Lease)),
		Logger:        slog.New(slog.DiscardHandler),
	}
	if w != nil {
		config.HTTPClient = &http.Client{Transport: w.roundTripper()}
	}
	return config
}

// publishers are the goroutines that publish.
type publishers struct {
	app     app
	client  *core.Client
	db      *sql.DB // for transactions; nil for none
	running sync.WaitGroup
	quiet   chan struct{} // closed when they are to stop
	rounds  int
}

// start starts the publishers.
func (p *publishers) start() {
	p.quiet = make(chan struct{})
	p.rounds++
	var pace <-chan time.Time
	if p.app.Rate > 0 {
		// Nobody stops it: it is garbage when the publishers have ended.
		pace = time.NewTicker(time.Second / time.Duration(p.app.Rate)).C
	}
	for i := range p.app.Publishers {
		p.running.Go(func() { p.publish(p.quiet, fmt.Sprintf("%s-%d-%d", p.app.Run, p.rounds, i), i, pace) })
	}
}

// stop has the publishers end, and waits for it.
func (p *publishers) stop() {
	select {
	case <-p.quiet:
	default:
		close(p.quiet)
	}
	p.running.Wait()
}

// publish publishes messages until it is told to be quiet, or the client is
// stopped.
func (p *publishers) publish(quiet <-chan struct{}, run string, number int, pace <-chan time.Time) {
	var options core.Options
	if len(p.app.Modes) > 0 {
		options.AfterResponse = p.app.Modes[number%len(p.app.Modes)]
	}
	_ = p.client.Serve(nil, nil, options, func(_ http.ResponseWriter, r *http.Request) error {
		p.publishAll(r.Context(), quiet, run, pace)
		return nil
	})
}

// publishAll is publish within one request.
func (p *publishers) publishAll(ctx context.Context, quiet <-chan struct{}, run string, pace <-chan time.Time) {
	for n := 0; ; n++ {
		select {
		case <-quiet:
			return
		default:
		}
		if pace != nil {
			select {
			case <-pace:
			case <-quiet:
				return
			}
		}
		id := fmt.Sprintf("%s-%d", run, n)
		receipt, err := p.publishOne(ctx, id)
		switch {
		case errors.Is(err, core.ErrClosed):
			return
		case err != nil:
			say(lineRefused, fmt.Sprintf("%q", err))
		default:
			say(lineAccepted, receipt.State.String(), id, strconv.FormatInt(time.Now().UnixMicro(), 10))
		}
	}
}

// publishOne publishes one message.
func (p *publishers) publishOne(ctx context.Context, id string) (core.Receipt, error) {
	publisher := core.MustFromContext(ctx)
	if p.db == nil {
		return publisher.Publish(ctx, topic, newPayload(id))
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return core.Receipt{}, err
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	if _, err := tx.ExecContext(ctx, "INSERT INTO business (id) VALUES ('"+id+"')"); err != nil {
		return core.Receipt{}, err
	}
	receipt, err := publisher.PublishTx(ctx, tx, topic, newPayload(id))
	if err != nil {
		return core.Receipt{}, err
	}
	return receipt, tx.Commit()
}

// payload is a message. Its length differs, so that a truncated one would
// show.
type payload struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

func newPayload(id string) payload {
	return payload{ID: id, Text: strings.Repeat("x", rand.IntN(300))}
}

// idOf returns the id in a payload; empty if there is none.
func idOf(raw json.RawMessage) string {
	var p payload
	if json.Unmarshal(raw, &p) != nil {
		return ""
	}
	return p.ID
}

func encode(p payload) json.RawMessage {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds texts only
	}
	return text
}
