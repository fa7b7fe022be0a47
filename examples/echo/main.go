// Command echo is a small Echo v4 app that publishes to Postoffice.
//
//	go run ./examples/echo
//	curl -i --json '{"number": 7}' http://127.0.0.1:8080/orders
//
// It takes its settings from POSTOFFICE_ variables, at least POSTOFFICE_URL and
// POSTOFFICE_ORIGIN_HOST. Without POSTOFFICE_URL it starts a fake server in the
// process.
package main

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/echopo"
	"github.com/postoffice-go/postoffice/examples/internal/program"
)

func main() { program.Main(newApp) }

func newApp(client *core.Client) (http.Handler, error) {
	e := echo.New()
	if err := echopo.Register(e, client, echopo.Options{}); err != nil {
		return nil, err
	}
	e.POST("/orders", createOrder)
	return e, nil
}

func createOrder(c echo.Context) error {
	var order struct {
		Number int `json:"number"`
	}
	if err := c.Bind(&order); err != nil {
		return err
	}
	receipt, err := echopo.FromContext(c).Publish(c.Request().Context(), "orders", order)
	if err != nil {
		slog.Error("order not published", "number", order.Number, "error", err)
		return echo.NewHTTPError(http.StatusServiceUnavailable, "try again later")
	}
	return c.String(http.StatusAccepted, fmt.Sprintf("order %d is %s\n", order.Number, receipt.State))
}
