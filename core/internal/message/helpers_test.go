package message

import "bytes"

// asError makes an error of a problem, nil of none.
func asError(problem *Problem) error {
	if problem == nil {
		return nil
	}
	return problem
}

// plainly encodes the payloads and attributes of tests that need no other
// encoder.
var plainly = NewEncoder(nil, false)

func encodePayload(path string, payload any) ([]byte, error) {
	encoded, problem := plainly.Encode(path, payload, Object{}, "")
	return bytes.Clone(encoded), asError(problem)
}

func encodeAttributes(sets ...AttributeSet) ([]byte, error) {
	encoded, _, problem := plainly.EncodeObjects(nil, sets, false)
	return encoded.Text, asError(problem)
}
