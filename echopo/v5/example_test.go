package echopo_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/echopo/v5"
)

func Example() {
	postoffice := postofficetest.NewServer() // instead of a real server
	defer postoffice.Close()

	client, err := core.NewClient(core.Config{
		URL:        postoffice.URL(),
		Topics:     []string{"orders"},
		OriginHost: "http://user:secret@orders:8080",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Stop(context.Background()) }()

	e := echo.New()
	err = echopo.Register(e, client, echopo.Options{
		Attributes: func(r *http.Request) map[string]any {
			return map[string]any{"request_id": r.Header.Get("X-Request-Id")}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	e.POST("/orders/:id", func(c *echo.Context) error {
		order := map[string]string{"id": c.Param("id")}
		receipt, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", order)
		if err != nil {
			return echo.NewHTTPError(http.StatusServiceUnavailable, "try again later").Wrap(err)
		}
		fmt.Println("order", order["id"], "is", receipt.State)
		return c.NoContent(http.StatusAccepted)
	})

	request := httptest.NewRequest(http.MethodPost, "/orders/7", strings.NewReader(""))
	request.Header.Set("X-Request-Id", "r-1")
	response := httptest.NewRecorder()
	e.ServeHTTP(response, request) // instead of e.Start(":8080")
	fmt.Println(response.Code)
	for _, message := range postoffice.MessagesOf("orders") {
		fmt.Println(string(message.Payload), string(message.Attributes))
	}
	// Output:
	// order 7 is delivered
	// 202
	// {"id":"7"} {"request_id":"r-1"}
}
