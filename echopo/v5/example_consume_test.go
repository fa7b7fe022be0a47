package echopo_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/echopo/v5"
)

func ExampleConsume() {
	postoffice := postofficetest.NewServer() // instead of a real server
	defer postoffice.Close()

	e := echo.New()
	server := httptest.NewServer(e) // instead of e.Start()
	defer server.Close()

	address := server.Listener.Addr().String()
	orders := core.Consumer{
		Topic:   "orders",
		Target:  "http://user:secret@" + address + "/consume/orders",
		Timeout: 10 * time.Second,
	}
	client, err := core.NewClient(core.Config{
		URL:        postoffice.URL(),
		Topics:     []string{"orders"},
		OriginHost: "http://user:secret@" + address,
		Consumers:  []core.Consumer{orders},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Stop(context.Background()) }()

	type Order struct {
		ID int `json:"id"`
	}
	err = echopo.Consume(e, "/consume/orders", delivery.Handler(
		func(_ context.Context, m delivery.Message[Order]) error {
			fmt.Println("order", m.Payload.ID, "from the", m.Attributes["region"])
			return nil
		}, delivery.WithConsumer(orders)))
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	if err := client.Start(ctx); err != nil { // Register does it, where the app publishes too
		log.Fatal(err)
	}
	_, err = client.Publish(ctx, "orders", Order{ID: 7}, core.WithAttribute("region", "north"))
	if err != nil {
		log.Fatal(err)
	}
	if err := postoffice.WaitForDeliveries(ctx, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(postoffice.Deliveries()[0].Status)
	// Output:
	// order 7 from the north
	// 204
}
