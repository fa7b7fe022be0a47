// Package memory is an [outbox.Store] in the memory of the process, for tests.
//
//	client, err := core.NewClient(core.Config{Outbox: memory.New()})
//
// It keeps every promise of the interface except durability: all records are lost
// when the process ends. Do not use it in production;
// [github.com/postoffice-go/postoffice/core/outbox/sqlite] keeps records in a file.
//
// The store starts no goroutines and reads the time with [time.Now] only, so it
// works in bubbles of testing/synctest.
package memory
