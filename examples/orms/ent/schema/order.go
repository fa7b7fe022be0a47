// Package schema describes the entities of ent.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Order is a row of the table orders.
type Order struct{ ent.Schema }

// Fields are the columns.
func (Order) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").StorageKey("number"),
		field.String("item"),
	}
}
