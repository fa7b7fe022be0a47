// Command consumer shows two services that communicate through a Postoffice server:
// a shop in Gin publishes orders, and billing in Echo consumes them. A message is
// delivered twice, and the order is booked once. Shipping, which takes long, has an
// inbox.
//
//	go run ./examples/consumer
//
// It needs nothing but Go: the server is a fake one in the process. To watch the
// messages on the page of a development server, start that in another terminal, and
// pass its URL:
//
//	go run ./core/cmd/postoffice dev
//	go run ./examples/consumer -server http://127.0.0.1:4000
//
// POSTOFFICE_URL sets a server, too. It must be on this machine, because it posts to
// 127.0.0.1.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// patience is the timeout of the whole program.
const patience = time.Minute

// topic is the topic that the shop publishes to and billing consumes.
const topic = "orders"

// order is the order that the shop accepts and publishes, and billing books.
type order struct {
	Number int    `json:"number"`
	Item   string `json:"item"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1) //nolint:gocritic // there is nothing left to cancel
	}
}

// run returns nil only if the message was delivered twice and its order booked once.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	flags := flag.NewFlagSet("consumer", flag.ContinueOnError)
	flags.SetOutput(out)
	server := flags.String("server", "", "`URL` of a running server (default POSTOFFICE_URL, or else a fake server in the process)")
	// A server keeps its consumers, so these addresses are the same on every run.
	shopAddr := flags.String("shop", "127.0.0.1:4001", "`address` of the shop")
	billingAddr := flags.String("billing", "127.0.0.1:4002", "`address` of billing")
	if err := flags.Parse(args); err != nil {
		return err
	}

	serverURL := cmp.Or(*server, os.Getenv("POSTOFFICE_URL"))
	if serverURL == "" {
		fake, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime())
		if err != nil {
			return err
		}
		defer fake.Close()
		serverURL = fake.URL()
	}
	directory, err := os.MkdirTemp("", "postoffice-consumer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()

	network := newNetwork()
	defer network.CloseIdleConnections()
	shop, err := startShop(ctx, *shopAddr, serverURL, network, directory)
	if err != nil {
		return fmt.Errorf("starting the shop: %w", err)
	}
	defer func() { err = errors.Join(err, shop.stop(ctx)) }()
	billing, err := startBilling(ctx, *billingAddr, serverURL, directory)
	if err != nil {
		return fmt.Errorf("starting billing: %w", err)
	}
	defer func() { err = errors.Join(err, billing.stop(ctx)) }()
	say("1. The server is at %s.", withoutPassword(serverURL))
	say("   The shop (Gin) is at %s and publishes to the topic %q.", shop.url, topic)
	say("   Billing (Echo) is at %s and consumes it.", billing.url)
	return tell(ctx, say, shop, billing, network)
}

// tell shows the steps with the running services.
func tell(ctx context.Context, say func(string, ...any), shop *shop, billing *billing, network *network) error {
	say("\n2. Somebody other than the server posts an order to billing.")
	status, _, err := post(ctx, billing.url+consumerPath, order{6, "unicorn"})
	if err != nil {
		return err
	}
	say("   Billing answers %d: it requires the password of its consumer's target.", status)
	if status != http.StatusUnauthorized {
		return errors.New("billing should reject this")
	}

	say("\n3. A customer orders a teapot. The server takes the message and delivers it,")
	say("   but its answer to the shop is lost on the way.")
	network.loseNextAnswer(billing.booked)
	status, body, err := post(ctx, shop.url+"/orders", order{7, "teapot"})
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("the shop answered %d: %s", status, body)
	}
	var message accepted
	if err := json.Unmarshal(body, &message); err != nil {
		return err
	}
	say("   The shop answers %d: message %s is %s.", status, message.MessageID, message.State)
	deliveries := 0
	if err := expectDelivery(ctx, say, billing, message.MessageID, &deliveries); err != nil {
		return err
	}

	say("\n4. The shop cannot know that the message was accepted: it sends it again, from its outbox.")
	if err := expectDelivery(ctx, say, billing, message.MessageID, &deliveries); err != nil {
		return err
	}

	say("\n5. Shipping, another consumer, has stored the message in its inbox and answered at once.")
	if err := billing.shipping.await(ctx, message.MessageID); err != nil {
		return err
	}
	say("   A worker of the inbox has packed the order once: the inbox has left out the copy.")

	orders, err := countBookings(ctx, billing.db, message.MessageID)
	if err != nil {
		return err
	}
	say("\n%s, %s booked.", plural(deliveries, "delivery", "deliveries"), plural(orders, "order", "orders"))
	if deliveries != 2 || orders != 1 {
		return errors.New("there should be 2 deliveries and 1 order booked")
	}
	return nil
}

// expectDelivery waits until billing acknowledges a delivery of the message, counts
// it and prints it.
func expectDelivery(ctx context.Context, say func(string, ...any), billing *billing, messageID string, deliveries *int) error {
	for {
		v, err := billing.next(ctx, messageID)
		if err != nil {
			return fmt.Errorf("delivery %d did not arrive: %w", *deliveries+1, err)
		}
		if v.status != http.StatusNoContent {
			say("   Billing answers %d: the server will deliver it again later.", v.status)
			continue
		}
		*deliveries++
		what := "it has handled that message before, and ignores it"
		if v.booked {
			what = "it books the order"
		}
		say("   Delivery %d of message %s. Billing answers %d: %s.", *deliveries, v.messageID, v.status, what)
		return nil
	}
}

// post sends an order and returns the status and the body of the answer.
func post(ctx context.Context, url string, o order) (status int, answer []byte, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// withoutPassword returns a URL for display. The client has parsed it already, so it
// is valid.
func withoutPassword(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "its URL"
	}
	return parsed.Redacted()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
