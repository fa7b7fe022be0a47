//go:build unix

package faults

import "os"

// formVariable in the environment chooses the form: "full" has each fault
// happen as often as README.md says; without it there are a few of each.
const formVariable = "POSTOFFICE_FAULTS"

// full tells whether the full form was asked for.
func full() bool { return os.Getenv(formVariable) == "full" }

// byForm chooses between a value of the full form and one of the short form.
func byForm[T any](inFull, inShort T) T {
	if full() {
		return inFull
	}
	return inShort
}
