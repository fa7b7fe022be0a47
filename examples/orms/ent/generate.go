// Package ent is generated of the schema by ent. The feature sql/execquery gives
// Tx the methods ExecContext and QueryContext.
package ent

//go:generate go run -mod=mod entgo.io/ent/cmd/ent generate --feature sql/execquery ./schema
