package message

// asError makes an error of a problem, nil of none.
func asError(problem *Problem) error {
	if problem == nil {
		return nil
	}
	return problem
}

func encodePayload(path string, payload any) ([]byte, error) {
	encoded, problem := EncodePayload(path, payload)
	return encoded, asError(problem)
}

func encodeAttributes(sets ...AttributeSet) ([]byte, error) {
	encoded, problem := EncodeAttributes(sets...)
	return encoded, asError(problem)
}
