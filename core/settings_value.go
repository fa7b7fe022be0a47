package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// settingValue is a value of the settings and the name of its field. Its
// methods set the target or report a value of the wrong type; they never repeat
// the value, which may contain a credential.
type settingValue struct {
	field string
	raw   json.RawMessage
	bad   *faults
}

func (v settingValue) fault(format string, args ...any) {
	v.bad.add(fieldError(v.field, format, args...))
}

// is reports whether the value begins like the wanted type, and records a fault
// otherwise.
func (v settingValue) is(begin byte, wanted string) bool {
	if v.raw[0] == begin {
		return true
	}
	v.wrongType(wanted)
	return false
}

func (v settingValue) wrongType(wanted string) {
	switch v.raw[0] {
	case 'n':
		v.fault("is null; it must be %s, or left out", wanted)
	case '"':
		v.fault("must be %s, not a string", wanted)
	case '{':
		v.fault("must be %s, not an object", wanted)
	case '[':
		v.fault("must be %s, not a list", wanted)
	case 't', 'f':
		v.fault("must be %s, not a boolean", wanted)
	default:
		v.fault("must be %s, not a number", wanted)
	}
}

func (v settingValue) text(target *string) {
	if v.is('"', "a string") {
		v.decode(target)
	}
}

func (v settingValue) bool(target *bool) {
	switch v.raw[0] {
	case 't', 'f':
		*target = v.raw[0] == 't'
	default:
		v.wrongType("true or false")
	}
}

func (v settingValue) boolText(text string, target *bool) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		v.fault("must be true or false")
		return
	}
	*target = value
}

func (v settingValue) integer(target *int) {
	switch c := v.raw[0]; {
	case c == '-' || '0' <= c && c <= '9':
		v.integerText(string(v.raw), target)
	default:
		v.wrongType("a whole number")
	}
}

func (v settingValue) integerText(text string, target *int) {
	number, err := strconv.Atoi(text)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			v.fault("is out of range")
		} else {
			v.fault("must be a whole number")
		}
		return
	}
	*target = number
}

func (v settingValue) seconds(target *time.Duration) {
	switch c := v.raw[0]; {
	case c == '"':
		var text string
		if v.decode(&text) {
			v.secondsText(strings.TrimSpace(text), target)
		}
	case c == '-' || '0' <= c && c <= '9':
		v.secondsText(string(v.raw), target)
	default:
		v.wrongType("a number of seconds")
	}
}

// secondsText reads a number of seconds or a Go duration.
func (v settingValue) secondsText(text string, target *time.Duration) {
	if strings.Trim(text, "0123456789.+-eE") != "" || text == "" {
		duration, err := time.ParseDuration(text)
		switch {
		case err != nil:
			v.fault(`must be seconds, such as 0.5, or a duration such as "500ms"`)
		case duration < 0:
			v.fault("is negative")
		default:
			*target = duration
		}
		return
	}
	seconds, err := strconv.ParseFloat(text, 64)
	nanoseconds := math.Round(seconds * float64(time.Second))
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	isZero := !strings.ContainsAny(mantissa, "123456789")
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		v.fault(`must be seconds, such as 0.5, or a duration such as "500ms"`)
	case seconds < 0:
		v.fault("is negative")
	case nanoseconds >= math.MaxInt64: // as a float64 it is 2^63, which overflows
		v.fault("is out of range")
	case nanoseconds == 0 && !isZero: // zero would mean the default
		v.fault("is less than a nanosecond")
	default:
		*target = time.Duration(nanoseconds)
	}
}

// elements splits a JSON list.
func (v settingValue) elements() []settingValue {
	var list []json.RawMessage
	if !v.is('[', "a list") || !v.decode(&list) {
		return nil
	}
	values := make([]settingValue, len(list))
	for i, raw := range list {
		values[i] = settingValue{field: fmt.Sprintf("%s[%d]", v.field, i), raw: raw, bad: v.bad}
	}
	return values
}

func (v settingValue) texts(target *[]string) {
	var texts []string
	for _, element := range v.elements() {
		var text string
		element.text(&text)
		texts = append(texts, text)
	}
	*target = texts
}

func (v settingValue) consumers(target *[]Consumer) {
	var consumers []Consumer
	for _, element := range v.elements() {
		var consumer Consumer
		setKeys(element, element.field+".", &consumer, consumerKeys())
		consumers = append(consumers, consumer)
	}
	*target = consumers
}

// decode reads a value whose type is already checked.
func (v settingValue) decode(target any) bool {
	if err := json.Unmarshal(v.raw, target); err != nil {
		v.fault("cannot be read")
		return false
	}
	return true
}
