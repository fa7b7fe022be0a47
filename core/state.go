package core

import "fmt"

// State is where an accepted message is. Its text and JSON forms are the name
// that String returns.
type State int

const (
	// Unknown is the state of a message that was not accepted, as in the
	// Receipt returned with an error.
	Unknown State = iota
	// Delivered means that the server has responded with 201.
	Delivered
	// Stored means that the message is committed in the outbox. It is delivered
	// later, or kept as dead if the server refused it permanently.
	Stored
	// Queued means that the message is in memory and waits for delivery.
	Queued
	// Held means that the message waits for the end of its request or of its
	// [Publisher], because of Options.FlushOn. It is not accepted yet.
	Held
)

// states are the names of the states.
var states = [...]string{Unknown: "unknown", Delivered: "delivered", Stored: "stored", Queued: "queued", Held: "held"}

// String returns "unknown", "delivered", "stored", "queued" or "held".
func (s State) String() string {
	if s < 0 || int(s) >= len(states) {
		return states[Unknown]
	}
	return states[s]
}

// MarshalText returns the text of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses the text of MarshalText. Other text is an error.
func (s *State) UnmarshalText(text []byte) error {
	for state, name := range states {
		if name == string(text) {
			*s = State(state)
			return nil
		}
	}
	return fmt.Errorf("postoffice: %.40q is not a state of a message", text)
}
