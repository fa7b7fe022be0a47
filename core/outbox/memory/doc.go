// Package memory is an [outbox.Store] in the memory of the process, for
// tests.
//
//	client, err := core.NewClient(core.Config{Outbox: memory.New()})
//
// It keeps every promise of the interface but one: it loses all its records
// when the process ends. Do not use it where messages matter;
// [github.com/postoffice-go/postoffice/core/outbox/sqlite] keeps a file.
//
// It starts no goroutine and reads the time with [time.Now] alone, so it
// works in bubbles of testing/synctest.
package memory
