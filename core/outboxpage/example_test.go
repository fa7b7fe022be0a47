package outboxpage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outboxpage"
)

func ExampleHandler() {
	store := memory.New()
	client, err := core.NewClient(core.Config{URL: "http://127.0.0.1:4000", Outbox: store})
	if err != nil {
		panic(err)
	}
	page, err := outboxpage.Handler(client, outboxpage.Options{
		Authorize: func(r *http.Request) bool {
			user, password, ok := r.BasicAuth()
			return ok && user == "operator" && password == "from the app's secrets"
		},
		Challenge: `Basic realm="outbox", charset="UTF-8"`,
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle(outboxpage.DefaultPath, page)

	err = store.Insert(context.Background(), 0, outbox.Record{ID: "1", Topic: "orders", Payload: json.RawMessage(`{}`), Attributes: json.RawMessage(`{}`)})
	if err != nil {
		panic(err)
	}
	for _, password := range []string{"a guess", "from the app's secrets"} {
		request := httptest.NewRequest(http.MethodGet, outboxpage.DefaultPath+"message?id=1", nil)
		request.SetBasicAuth("operator", password)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, request)
		fmt.Println(answer.Code)
	}
	// Output:
	// 401
	// 200
}
