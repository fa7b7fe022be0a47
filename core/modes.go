package core

import "net/http"

// Mode selects when the messages of a request are posted.
type Mode int

// Modes of a request's publisher.
const (
	// Off posts each message within the call that publishes it.
	Off Mode = iota
	// Durable commits each message to the outbox within the call, which returns
	// Stored, and posts it afterwards together with messages of other requests.
	// Concurrent calls share a commit. Durable requires an outbox: without one,
	// messages are posted as with Off and the log contains a warning. If the
	// outbox cannot store a message, the message is posted within the call.
	Durable
	// Memory queues each message within the call, which returns Queued after
	// about a microsecond, and posts it afterwards together with messages of
	// other requests.
	//
	// Memory is the only mode that can lose accepted messages: a crash of the
	// process loses the messages that are only in memory. With an outbox, a
	// message is only in memory for at most Batching.MaxAge, 250 ms by
	// default. Usually the server has it after Batching.Delay, 20 ms by
	// default, plus the time of a post. Without an outbox, or while the outbox
	// fails, messages stay in memory and are retried until they are delivered
	// or the client is stopped. [Client.Stats] reports how many are at risk and
	// for how long. Flush and Stop lose no message that the server or the
	// outbox accepts.
	//
	// While the server fails, and when the bounds of memory are reached,
	// messages are stored in the outbox within the call. Without an outbox, a
	// message that the server refuses permanently is only logged and reported
	// to Observer.Dead.
	Memory
)

// String returns "off", "durable" or "memory".
func (m Mode) String() string {
	switch m {
	case Durable:
		return "durable"
	case Memory:
		return "memory"
	default:
		return "off"
	}
}

// Outcome is the result of a request or of a job.
type Outcome struct {
	// Status is the HTTP status of the response; zero outside of requests.
	Status int
	// Panicked reports that the handler or the job panicked. The messages are
	// then dropped without asking Options.FlushOn.
	Panicked bool
	// Err is the error of a job; always nil for requests.
	Err error
}

// Succeeded reports whether a request or a job has not failed on the app's
// side: the status is below 500 and there is no error. Use it as
// Options.FlushOn.
func Succeeded(outcome Outcome) bool {
	return !outcome.Panicked && outcome.Err == nil && outcome.Status < http.StatusInternalServerError
}

// Committed reports whether a request or a job was successful: the status is
// below 400 and there is no error. Use it as Options.FlushOn.
func Committed(outcome Outcome) bool {
	return !outcome.Panicked && outcome.Err == nil && outcome.Status < http.StatusBadRequest
}
