package message

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// IDName is the name of the attribute, or of the metadata, with a message's ID.
const IDName = "message_id"

// AttributeSet holds attributes that were passed together: Many or, with
// Single, one Name and Value.
type AttributeSet struct {
	Many   map[string]any
	Single bool
	Name   string
	Value  any
	// Metadata means that the set is metadata. It travels among the attributes,
	// or in the payload if the encoder puts it there.
	Metadata bool
}

func (s *AttributeSet) len() int {
	if s.Single {
		return 1
	}
	return len(s.Many)
}

// Object is an encoded JSON object of strings with sorted keys: equal
// attributes have equal bytes. It must not be modified.
type Object struct {
	Text []byte
	// idAt is the offset in Text at which an ID belongs.
	idAt int
}

// noObject is an object without members.
func noObject() Object { return Object{Text: NoAttributes, idAt: len("{")} }

// isEmpty reports whether the object has no members.
func (o Object) isEmpty() bool { return len(o.Text) <= len("{}") }

// AppendWithID appends the object with an ID as a further member.
func (o Object) AppendWithID(to []byte, id string) []byte {
	to = append(to, o.Text[:o.idAt]...)
	if o.idAt > len("{") {
		to = append(to, ',')
	}
	to = append(AppendString(to, IDName), ':')
	to = AppendString(to, id)
	if o.idAt == len("{") && !o.isEmpty() {
		to = append(to, ',')
	}
	return append(to, o.Text[o.idAt:]...)
}

// member is an attribute or an entry of the metadata.
type member struct {
	name  string
	value any
	kind  string // its name in problems
	// text is the encoded name and value; nil if they are not encoded yet.
	// problem is the reason why they cannot be encoded.
	text    []byte
	problem *Problem
	// inPayload means that the member travels in the payload.
	inPayload bool
}

// Kinds of members in the paths of problems.
const (
	kindAttribute = "attributes"
	kindMetadata  = "metadata"
)

// appendTo appends the member's encoded name and value.
func (m *member) appendTo(to []byte) ([]byte, *Problem) {
	switch {
	case m.problem != nil:
		return to, m.problem
	case m.text != nil:
		return append(to, m.text...), nil
	}
	text, problem := "", nameProblem(m.name)
	kind, _, number := plainValue(m.value)
	whole := kind == intValue || kind == int64Value // encoded without an intermediate string
	if problem == "" && !whole {
		text, problem = attributeText(m.value)
	}
	if problem != "" {
		return to, problemAt(fmt.Sprintf("%s[%.100q]", m.kind, m.name), "%s", problem)
	}
	to = append(AppendString(to, m.name), ':')
	if whole {
		return append(strconv.AppendInt(append(to, '"'), number, 10), '"'), nil
	}
	return AppendString(to, text), nil
}

// Attributes are attributes that several calls share, encoded once. They are
// safe for concurrent use.
type Attributes struct {
	members []member // sorted by name
	object  Object
	faulty  bool // a member has a problem
}

// EncodeAttributes encodes attributes that several calls share; nil for none. A
// call gets the problem of an attribute, unless it replaces the attribute.
func EncodeAttributes(attributes map[string]any) *Attributes {
	if len(attributes) == 0 {
		return nil
	}
	a := &Attributes{members: make([]member, 0, len(attributes))}
	for name, value := range attributes {
		a.members = append(a.members, member{name: name, value: value, kind: kindAttribute})
	}
	sortMembers(a.members)
	text := append(make([]byte, 0, 32*len(attributes)), '{')
	for i := range a.members {
		m := &a.members[i]
		if i > 0 {
			text = append(text, ',')
		}
		start := len(text)
		text, m.problem = m.appendTo(text)
		m.value, m.text = nil, text[start:len(text):len(text)]
		a.faulty = a.faulty || m.problem != nil
	}
	text = append(text, '}')
	a.object = Object{Text: text[:len(text):len(text)]}
	return a
}

// sortMembers sorts by name and keeps the order of equal names.
func sortMembers(members []member) {
	const few = 12
	if len(members) > few {
		slices.SortStableFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
		return
	}
	for i := 1; i < len(members); i++ {
		for j := i; j > 0 && members[j].name < members[j-1].name; j-- {
			members[j], members[j-1] = members[j-1], members[j]
		}
	}
}

// EncodeObjects encodes the attributes and the metadata of a call: the shared
// ones, nil for none, and the call's own, where later ones replace earlier
// ones. If the encoder puts metadata into payloads, the shared attributes are
// metadata, too, and an attribute of the call replaces metadata with the same
// name. With identified, the metadata, or the attributes if they contain the
// metadata, have a place for IDs, and a member named IDName is omitted.
//
// The metadata is valid until the next call or Reset.
func (e *Encoder) EncodeObjects(shared *Attributes, sets []AttributeSet, identified bool) (attributes, metadata Object, problem *Problem) {
	if len(sets) == 0 && !identified && !e.metadataInPayload && shared != nil && !shared.faulty {
		return shared.object, noObject(), nil
	}
	if shared == nil && e.repeat.matches(sets, identified) {
		return e.repeat.attributes, e.repeat.metadata, nil
	}
	e.repeat.valid = false // the metadata is overwritten
	e.collect(shared, sets)
	defer func() { clear(e.members) }()
	a, m := append(e.attributes[:0], '{'), append(e.metadata[:0], '{')
	withID := &a
	if e.metadataInPayload {
		withID = &m
	}
	idAt := 0
	for i := 0; i < len(e.members); {
		winner := &e.members[i]
		for i++; i < len(e.members) && e.members[i].name == winner.name; i++ {
			if next := &e.members[i]; winner.inPayload || !next.inPayload {
				winner = next
			}
		}
		if identified {
			if idAt == 0 && winner.name >= IDName {
				idAt = len(*withID)
			}
			if winner.name == IDName {
				continue
			}
		}
		to := &a
		if winner.inPayload {
			to = &m
		}
		if len(*to) > len("{") {
			*to = append(*to, ',')
		}
		if *to, problem = winner.appendTo(*to); problem != nil {
			return Object{}, Object{}, problem
		}
	}
	if idAt == 0 {
		idAt = len(*withID)
	}
	e.attributes, e.metadata = append(a, '}'), append(m, '}')
	attributes = Object{e.recent.lasting(e.attributes), min(idAt, len(a))}
	metadata = Object{e.metadata, min(idAt, len(m))}
	if shared == nil {
		e.repeat.remember(sets, identified, attributes, metadata)
	}
	return attributes, metadata, nil
}

// collect fills e.members, sorted by name.
func (e *Encoder) collect(shared *Attributes, sets []AttributeSet) {
	e.members = e.members[:0]
	if shared != nil {
		e.members = append(e.members, shared.members...)
		for i := range e.members {
			e.members[i].inPayload = e.metadataInPayload
		}
	}
	for i := range sets {
		set := &sets[i]
		m := member{name: set.Name, value: set.Value, kind: kindAttribute}
		if set.Metadata {
			m.kind, m.inPayload = kindMetadata, e.metadataInPayload
		}
		if set.Single {
			e.members = append(e.members, m)
		}
		for m.name, m.value = range set.Many {
			e.members = append(e.members, m)
		}
	}
	sortMembers(e.members)
}

// maxRecent is the number of attribute objects that an encoder remembers, and
// maxRecentBytes the maximum size of each.
const (
	maxRecent      = 4
	maxRecentBytes = 1 << 10
)

// recent are the last attribute objects of an encoder. They are never modified.
type recent struct {
	texts [maxRecent][]byte
	next  int // index of the oldest
}

// lasting returns a copy of a text that is never modified. Consecutive messages
// usually have equal attributes and share one copy.
func (r *recent) lasting(text []byte) []byte {
	if len(text) == len("{}") {
		return NoAttributes
	}
	for _, known := range r.texts {
		if bytes.Equal(known, text) {
			return known
		}
	}
	text = slices.Clip(bytes.Clone(text))
	if len(text) <= maxRecentBytes {
		r.texts[r.next] = text
		r.next = (r.next + 1) % maxRecent
	}
	return text
}
