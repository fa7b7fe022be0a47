package connect

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// places names where a field of core.Config is set.
var places = map[string]string{
	"URL":             "--url, POSTOFFICE_URL, or URL in the settings file",
	"Topics":          "--topic, POSTOFFICE_TOPICS, or TOPICS in the settings file",
	"Consumers":       "--consumer, POSTOFFICE_CONSUMERS, or CONSUMERS in the settings file",
	"OriginHost":      "--origin-host, POSTOFFICE_ORIGIN_HOST, or ORIGIN_HOST in the settings file",
	"RecoveryPath":    "--recovery-path, POSTOFFICE_RECOVERY_PATH, or RECOVERY_PATH in the settings file",
	"RecoveryEnabled": "--recovery, POSTOFFICE_RECOVERY_ENABLED, or RECOVERY_ENABLED in the settings file",
	"Timeout":         "--timeout, POSTOFFICE_TIMEOUT, or TIMEOUT in the settings file",
	"BulkTimeout":     "--bulk-timeout, POSTOFFICE_BULK_TIMEOUT, or BULK_TIMEOUT in the settings file",
	"RelayRate":       "POSTOFFICE_RELAY_RATE, or RELAY_RATE in the settings file",
	"BulkLimit":       "--bulk-limit, POSTOFFICE_BULK_LIMIT, or BULK_LIMIT in the settings file",
}

// openRecovery names where AllowOpenRecovery is set, which has no flag.
const openRecovery = "POSTOFFICE_ALLOW_OPEN_RECOVERY (ALLOW_OPEN_RECOVERY in the settings file)"

// explain returns an error with one line for each invalid field, which names where
// the field is set.
func explain(err error) error {
	var text strings.Builder
	text.WriteString("the settings cannot be used:")
	if file, ok := errors.AsType[*fileError](err); ok {
		text.Reset()
		fmt.Fprintf(&text, "the settings file %s cannot be used:", file.path)
	}
	faults := fieldErrors(err)
	if len(faults) == 0 {
		return exit.New(exit.Usage, "", fmt.Errorf("the settings cannot be used: %w", err))
	}
	for _, fault := range faults {
		text.WriteString("\n  " + strings.ReplaceAll(fault.Error(), "AllowOpenRecovery", openRecovery))
		root, _, _ := strings.Cut(fault.Field, "[")
		if place, ok := places[root]; ok {
			text.WriteString(" (" + place + ")")
		}
	}
	return exit.New(exit.Usage, "", &settingsError{text.String(), err})
}

// settingsError replaces the text of an error.
type settingsError struct {
	text string
	err  error
}

func (e *settingsError) Error() string { return e.text }
func (e *settingsError) Unwrap() error { return e.err }

// fieldErrors returns the field errors in a tree of errors.
func fieldErrors(err error) []*core.FieldError {
	switch err := err.(type) { //nolint:errorlint // walks the tree itself
	case nil:
		return nil
	case *core.FieldError:
		return []*core.FieldError{err}
	case interface{ Unwrap() []error }:
		var found []*core.FieldError
		for _, one := range err.Unwrap() {
			found = append(found, fieldErrors(one)...)
		}
		return found
	default:
		return fieldErrors(errors.Unwrap(err))
	}
}
