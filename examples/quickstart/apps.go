package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/echopo"
	"github.com/postoffice-go/postoffice/ginpo"
	"github.com/postoffice-go/postoffice/nethttp"
)

// kind is one of the three kinds of app.
type kind struct {
	name, topic string
	// register sets up the app: its routes, the middleware and the client's own
	// routes.
	register func(server *http.Server, client *core.Client, topic string) error
}

var kinds = []kind{
	{"Gin", "orders", registerGin},
	{"Echo", "bills", registerEcho},
	{"net/http", "parcels", registerNetHTTP},
}

// order is the payload that the apps publish.
type order struct {
	Number   int       `json:"number"`
	PlacedAt time.Time `json:"placed_at"`
}

// options add the request's id to every message of a request.
var options = core.Options{Attributes: func(r *http.Request) map[string]any {
	return map[string]any{"request_id": r.Header.Get("X-Request-Id")}
}}

func registerGin(server *http.Server, client *core.Client, topic string) error {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	server.Handler = engine
	if err := ginpo.Register(engine, client, options); err != nil {
		return err
	}
	engine.POST("/"+topic, func(c *gin.Context) {
		o := order{PlacedAt: time.Now()}
		if err := c.ShouldBindJSON(&o); err != nil {
			c.String(http.StatusBadRequest, "not an order")
			return
		}
		receipt, err := ginpo.FromContext(c).Publish(c.Request.Context(), topic, o, core.WithAttribute("app", "gin"))
		if err != nil {
			c.String(http.StatusInternalServerError, "not accepted")
			return
		}
		c.String(http.StatusAccepted, receipt.State.String())
	})
	return nil
}

func registerEcho(server *http.Server, client *core.Client, topic string) error {
	e := echo.New()
	server.Handler = e
	if err := echopo.Register(e, client, options); err != nil {
		return err
	}
	e.POST("/"+topic, func(c echo.Context) error {
		o := order{PlacedAt: time.Now()}
		if err := c.Bind(&o); err != nil {
			return err
		}
		receipt, err := echopo.FromContext(c).Publish(c.Request().Context(), topic, o, core.WithAttribute("app", "echo"))
		if err != nil {
			return err
		}
		return c.String(http.StatusAccepted, receipt.State.String())
	})
	return nil
}

func registerNetHTTP(server *http.Server, client *core.Client, topic string) error {
	mux := http.NewServeMux()
	server.Handler = mux
	mux.HandleFunc("POST /"+topic, func(w http.ResponseWriter, r *http.Request) {
		o := order{PlacedAt: time.Now()}
		if err := readJSON(r.Body, &o); err != nil {
			http.Error(w, "not an order", http.StatusBadRequest)
			return
		}
		receipt, err := nethttp.FromRequest(r).Publish(r.Context(), topic, o, core.WithAttribute("app", "net/http"))
		if err != nil {
			http.Error(w, "not accepted", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, receipt.State.String())
	})
	return nethttp.Register(server, client, options)
}

// app is a running web app with its client and its outbox.
type app struct {
	kind   kind
	url    string
	client *core.Client
	outbox *sqlite.Store
	server *http.Server
	served chan error
}

// startApp starts an app on a free port of this machine.
func startApp(ctx context.Context, kind kind, serverURL, consumerURL, outboxFile string) (_ *app, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, outboxFile)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	client, err := core.NewClient(core.Config{
		URL:        serverURL,
		Topics:     []string{kind.topic},
		Consumers:  []core.Consumer{{Topic: kind.topic, Target: consumerURL + "/" + kind.topic}},
		OriginHost: fmt.Sprintf("http://postoffice:secret@%s", listener.Addr()),
		Outbox:     store,
		Logger:     slog.New(slog.DiscardHandler), // the program prints what happens
	})
	if err != nil {
		return nil, errors.Join(err, store.Close(), listener.Close())
	}
	a := &app{
		kind:   kind,
		url:    "http://" + listener.Addr().String(),
		client: client,
		outbox: store,
		server: &http.Server{ReadHeaderTimeout: 5 * time.Second},
		served: make(chan error, 1),
	}
	if err := kind.register(a.server, client, kind.topic); err != nil {
		return nil, errors.Join(err, client.Stop(ctx), store.Close(), listener.Close())
	}
	go func() { a.served <- a.server.Serve(listener) }()
	return a, nil
}

// stop ends the app without losing messages: first the requests, then the client,
// and last the outbox.
func (a *app) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := errors.Join(a.server.Shutdown(ctx), a.client.Stop(ctx), a.outbox.Close())
	if served := <-a.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
