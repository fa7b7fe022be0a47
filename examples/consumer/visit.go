package main

import (
	"context"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
)

// visit is the outcome of a request to billing, for display.
type visit struct {
	messageID string
	booked    bool
	status    int
}

type visitKey struct{}

// visitOf returns the visit of the context, which watch has created.
func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// noteMessageID sees every delivery before deduplication.
func noteMessageID(ctx context.Context, attributes map[string]string) context.Context {
	visitOf(ctx).messageID = attributes[core.MessageIDAttribute]
	return ctx
}

// watch is a middleware that reports each delivery. Your app does not need it.
func (b *billing) watch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := &visit{}
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), visitKey{}, v)))
		err := next(c)
		v.status = c.Response().Status
		if v.booked {
			b.once.Do(func() { close(b.booked) })
		}
		if v.messageID != "" {
			select {
			case b.visits <- v:
			case <-c.Request().Context().Done():
			}
		}
		return err
	}
}
