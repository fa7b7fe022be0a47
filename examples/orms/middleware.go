package orms

import (
	"context"
	"database/sql"
	"net/http"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/nethttp"
)

// Handler returns the status of its response instead of writing it, so that the
// caller reads it after the commit.
type Handler func(r *http.Request, tx *sql.Tx) (status int, err error)

// InTransaction returns a handler that runs next in a transaction. The context of
// the request carries the transaction for the messages of the client. The response
// is written after the commit.
func InTransaction(db *sql.DB, client *core.Client, next Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		err := InTx(r.Context(), db, client, func(ctx context.Context, tx *sql.Tx) (err error) {
			status, err = next(r.WithContext(ctx), tx)
			return err
		})
		if err != nil {
			http.Error(w, "the order was not placed", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(status)
	})
}

// NewHandler puts the transaction inside the middleware of the client: it ends
// before the request does.
func NewHandler(db *sql.DB, client *core.Client) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /orders", InTransaction(db, client, func(r *http.Request, tx *sql.Tx) (int, error) {
		ctx, o := r.Context(), Order{Number: 1, Item: r.FormValue("item")}
		if _, err := tx.ExecContext(ctx, insertOrder, o.Number, o.Item); err != nil {
			return 0, err
		}
		// The publisher of the request joins the transaction, too.
		if _, err := core.MustFromContext(ctx).Publish(ctx, "orders", o); err != nil {
			return 0, err
		}
		return http.StatusCreated, o.check()
	}))
	options := nethttp.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}
	return nethttp.Middleware(client, options)(mux)
}
