// Command gin is a small Gin app that publishes to Postoffice.
//
//	go run ./examples/gin
//	curl -i --json '{"number": 7}' http://127.0.0.1:8080/orders
//
// It takes its settings from POSTOFFICE_ variables, at least POSTOFFICE_URL and
// POSTOFFICE_ORIGIN_HOST. Without POSTOFFICE_URL it starts a fake server in the
// process.
package main

import (
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/examples/internal/program"
	"github.com/postoffice-go/postoffice/ginpo"
)

func main() { program.Main(newApp) }

func newApp(client *core.Client) (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	if err := ginpo.Register(router, client, ginpo.Options{}); err != nil {
		return nil, err
	}
	router.POST("/orders", createOrder)
	return router, nil
}

func createOrder(c *gin.Context) {
	var order struct {
		Number int `json:"number"`
	}
	if err := c.ShouldBindJSON(&order); err != nil {
		c.String(http.StatusBadRequest, "not an order\n")
		return
	}
	receipt, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", order)
	if err != nil {
		slog.Error("order not published", "number", order.Number, "error", err)
		c.String(http.StatusServiceUnavailable, "try again later\n")
		return
	}
	c.String(http.StatusAccepted, "order %d is %s\n", order.Number, receipt.State)
}
