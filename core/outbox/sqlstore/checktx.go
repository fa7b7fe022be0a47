package sqlstore

import (
	"database/sql"
	"fmt"
	"reflect"
	"strings"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// checkTx checks a transaction of the caller.
func checkTx(tx outbox.Tx) error {
	switch {
	case typednil.Is(tx):
		return fmt.Errorf("%w: tx is nil", outbox.ErrInvalid)
	case rewrites(tx):
		return fmt.Errorf("%w: tx is a %T, which writes arguments into the text of a statement: pass its *sql.Tx, the field tx.Tx", outbox.ErrInvalid, tx)
	}
	return nil
}

// maxEmbedded bounds the depth of the search through embedded types.
const maxEmbedded = 5

// rewrites reports whether a transaction is the Tx of github.com/uptrace/bun, or
// embeds one. Its ExecContext replaces question marks with literals of the arguments
// and supports no other placeholders: on PostgreSQL it runs a statement without its
// arguments.
func rewrites(tx outbox.Tx) bool {
	if _, ok := tx.(*sql.Tx); ok {
		return false
	}
	return embedsBun(reflect.ValueOf(tx), maxEmbedded)
}

func embedsBun(value reflect.Value, depth int) bool {
	for value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
		if depth--; depth < 0 {
			return false
		}
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct || depth < 0 {
		return false
	}
	of := value.Type()
	if of.Name() == "Tx" && strings.HasSuffix(of.PkgPath(), "/uptrace/bun") {
		return true
	}
	for i := range of.NumField() {
		if of.Field(i).Anonymous && embedsBun(value.Field(i), depth-1) {
			return true
		}
	}
	return false
}
