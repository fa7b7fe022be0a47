package message

import "bytes"

// asError makes an error of a problem, nil of none.
func asError(problem *Problem) error {
	if problem == nil {
		return nil
	}
	return problem
}

// shared encodes the payloads of the tests that need no other encoder.
var shared = NewEncoder(nil)

func encodePayload(path string, payload any) ([]byte, error) {
	encoded, problem := shared.Encode(path, payload)
	return bytes.Clone(encoded), asError(problem)
}

func encodeAttributes(sets ...AttributeSet) ([]byte, error) {
	encoded, problem := EncodeAttributes(sets...)
	return encoded, asError(problem)
}
