package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/ginpo"
)

// shop accepts orders and publishes them.
type shop struct {
	*service
	client *core.Client
	outbox *sqlite.Store
}

// accepted is the shop's answer.
type accepted struct {
	MessageID string `json:"message_id"`
	State     string `json:"state"`
}

func startShop(ctx context.Context, addr, serverURL string, network *network, directory string) (*shop, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, filepath.Join(directory, "shop-outbox.db"))
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	client, err := core.NewClient(core.Config{
		URL:           serverURL,
		Topics:        []string{topic},
		OriginHost:    "http://postoffice:secret@" + listener.Addr().String(),
		Outbox:        store,
		Timeout:       5 * time.Second,
		HTTPClient:    &http.Client{Transport: network},
		SetupRequired: true,
		Logger:        slog.New(slog.DiscardHandler), // the program prints what happens
	})
	if err != nil {
		return nil, errors.Join(err, store.Close(), listener.Close())
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	if err := ginpo.Register(router, client, ginpo.Options{}); err != nil {
		return nil, errors.Join(err, client.Stop(ctx), store.Close(), listener.Close())
	}
	router.POST("/orders", takeOrder)
	return &shop{service: serve(listener, router), client: client, outbox: store}, nil
}

// takeOrder publishes an order. The message gets an id, by which consumers recognize
// a copy.
func takeOrder(c *gin.Context) {
	var o order
	if err := c.ShouldBindJSON(&o); err != nil {
		c.String(http.StatusBadRequest, "not an order")
		return
	}
	receipt, err := ginpo.FromContext(c).Publish(c.Request.Context(), topic, o, core.WithMessageID())
	if err != nil {
		c.String(http.StatusServiceUnavailable, "try again later")
		return
	}
	c.JSON(http.StatusAccepted, accepted{receipt.IDs[0], receipt.State.String()})
}

// stop ends the shop without losing messages: first the requests, then the client,
// and last the outbox.
func (s *shop) stop(ctx context.Context) error {
	ctx, cancel := stopping(ctx)
	defer cancel()
	return errors.Join(s.service.stop(ctx), s.client.Stop(ctx), s.outbox.Close())
}
