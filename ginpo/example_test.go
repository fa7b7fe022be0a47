package ginpo_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/ginpo"
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

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	err = ginpo.Register(router, client, ginpo.Options{ // before the routes
		Attributes: func(r *http.Request) map[string]any {
			return map[string]any{"request_id": r.Header.Get("X-Request-Id")}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	router.POST("/orders/:id", func(c *gin.Context) {
		order := gin.H{"id": c.Param("id")}
		receipt, err := ginpo.FromContext(c).Publish(c.Request.Context(), "orders", order)
		if err != nil {
			c.String(http.StatusServiceUnavailable, "try again later")
			return
		}
		fmt.Println("order", order["id"], "is", receipt.State)
		c.Status(http.StatusAccepted)
	})

	request := httptest.NewRequest(http.MethodPost, "/orders/7", strings.NewReader(""))
	request.Header.Set("X-Request-Id", "r-1")
	response := httptest.NewRecorder()
	router.ServeHTTP(response, request) // instead of router.Run()
	fmt.Println(response.Code)
	for _, message := range postoffice.MessagesOf("orders") {
		fmt.Println(string(message.Payload), string(message.Attributes))
	}
	// Output:
	// order 7 is delivered
	// 202
	// {"id":"7"} {"request_id":"r-1"}
}
