package message

import "time"

// repeat remembers the sets that an encoder has encoded last, and their
// objects, because consecutive messages usually have the same attributes. It
// keeps copies, because a small text may keep a large one of the app in memory.
type repeat struct {
	inputs     []input
	text       []byte // names and values of the inputs, one after the other
	identified bool
	valid      bool

	attributes, metadata Object
}

// input is an attribute of a set as the caller passed it.
type input struct {
	set      int // index of the set
	metadata bool
	// name and value end at these offsets of the text. The value has a text or
	// a number, depending on its kind.
	nameEnd, valueEnd int
	kind              valueKind
	number            int64
}

// valueKind is the kind of a value that can be compared cheaply and cannot
// change.
type valueKind uint8

const (
	otherValue valueKind = iota
	textValueKind
	boolValue
	intValue
	int64Value
	durationValue
)

// plainValue returns the kind of a value and the data that determines its text.
func plainValue(value any) (kind valueKind, text string, number int64) {
	switch value := value.(type) {
	case string:
		return textValueKind, value, 0
	case bool:
		if value {
			number = 1
		}
		return boolValue, "", number
	case int:
		return intValue, "", int64(value)
	case int64:
		return int64Value, "", value
	case time.Duration:
		return durationValue, "", int64(value)
	}
	return otherValue, "", 0
}

// Bounds of the remembered sets.
const (
	maxRepeatInputs = 16
	maxRepeatBytes  = 1 << 10
)

// matches reports whether the sets are the remembered ones.
func (r *repeat) matches(sets []AttributeSet, identified bool) bool {
	if !r.valid || r.identified != identified {
		return false
	}
	first := 0 // the first input of the set
	for i := range sets {
		set, end := &sets[i], first
		for end < len(r.inputs) && r.inputs[end].set == i {
			end++
		}
		if set.len() != end-first {
			return false
		}
		if set.Single {
			if !r.has(first, end, set.Name, set.Value, set.Metadata) {
				return false
			}
		} else {
			for name, value := range set.Many {
				if !r.has(first, end, name, value, set.Metadata) {
					return false
				}
			}
		}
		first = end
	}
	return first == len(r.inputs)
}

// has reports whether an attribute is among the inputs from first to end.
func (r *repeat) has(first, end int, name string, value any, metadata bool) bool {
	kind, text, number := plainValue(value)
	for i := first; i < end; i++ {
		known, start := &r.inputs[i], 0
		if i > 0 {
			start = r.inputs[i-1].valueEnd
		}
		if string(r.text[start:known.nameEnd]) != name {
			continue
		}
		return known.kind == kind && known.number == number && known.metadata == metadata &&
			string(r.text[known.nameEnd:known.valueEnd]) == text
	}
	return false
}

// remember stores sets and their objects, unless there are too many or they
// have values that cannot be compared cheaply.
func (r *repeat) remember(sets []AttributeSet, identified bool, attributes, metadata Object) {
	r.inputs, r.text = r.inputs[:0], r.text[:0]
	r.valid, r.attributes, r.metadata = false, Object{}, Object{}
	for i := range sets {
		set := &sets[i]
		if len(r.inputs)+set.len() > maxRepeatInputs {
			return
		}
		if set.Single {
			if !r.add(i, set.Name, set.Value, set.Metadata) {
				return
			}
			continue
		}
		for name, value := range set.Many {
			if !r.add(i, name, value, set.Metadata) {
				return
			}
		}
	}
	r.valid, r.identified, r.attributes, r.metadata = true, identified, attributes, metadata
}

func (r *repeat) add(set int, name string, value any, metadata bool) bool {
	kind, text, number := plainValue(value)
	if kind == otherValue || len(r.text)+len(name)+len(text) > maxRepeatBytes {
		return false
	}
	r.text = append(r.text, name...)
	nameEnd := len(r.text)
	r.text = append(r.text, text...)
	r.inputs = append(r.inputs, input{set, metadata, nameEnd, len(r.text), kind, number})
	return true
}
