package outboxpage

import (
	"errors"
	"net/url"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// maxTopic is how many bytes a topic to look for may have.
const maxTopic = 4096

// Errors of what a request asks for.
var (
	errState = errors.New("the state must be “pending” or “dead”, or empty for all")
	errTopic = errors.New("the topic must be UTF-8 without NUL, and of at most 4,096 bytes")
	errID    = errors.New("the id of a message must be UTF-8 without NUL, and of 1 to 255 bytes")
)

// filter says which messages a person looks at.
type filter struct {
	Topic, State string
	// Refresh tells that browsers without scripts load the list again and again.
	Refresh bool
}

// readFilter reads and checks a filter.
func readFilter(values url.Values) (filter, error) {
	f := filter{Topic: values.Get("topic"), State: values.Get("state"), Refresh: values.Get("refresh") == "on"}
	if f.State != "" && f.State != "pending" && f.State != "dead" {
		return filter{}, errState
	}
	if !isText(f.Topic) || len(f.Topic) > maxTopic {
		return filter{}, errTopic
	}
	return f, nil
}

// of is the filter for messages of a topic and a state; the rest of it stays.
func (f filter) of(topic, state string) filter {
	f.Topic, f.State = topic, state
	return f
}

// selects reports whether the filter leaves messages out.
func (f filter) selects() bool { return f.Topic != "" || f.State != "" }

// state is that of a store's query; nil for all.
func (f filter) state() *outbox.State {
	states := map[string]outbox.State{"pending": outbox.Pending, "dead": outbox.Dead}
	if state, ok := states[f.State]; ok {
		return &state
	}
	return nil
}

// selection names all messages of the filter.
func (f filter) selection() outbox.Selection {
	return outbox.Selection{Topic: f.Topic, All: f.Topic == "", State: f.state()}
}

// words says which messages these are, after "all".
func (f filter) words(deliver string) string { return f.name("messages", deliver) }

// counted says which messages these are when there are so many.
func (f filter) counted(n int, deliver string) string {
	if n == 1 {
		return "1 " + f.name("message", deliver)
	}
	return "all " + webpage.Grouped(n) + " " + f.name("messages", deliver)
}

// name says what the filter makes of messages.
func (f filter) name(noun, deliver string) string {
	switch f.State {
	case "pending":
		noun += " to " + deliver
	case "dead":
		noun = "dead " + noun
	}
	if f.Topic != "" {
		noun += " of “" + webpage.Shown(f.Topic, webpage.MaxName) + "”"
	}
	return noun
}

// values is the filter in an address.
func (f filter) values() url.Values {
	values := url.Values{}
	if f.Topic != "" {
		values.Set("topic", f.Topic)
	}
	if f.State != "" {
		values.Set("state", f.State)
	}
	if f.Refresh {
		values.Set("refresh", "on")
	}
	return values
}

// link is a relative address with the filter and other pairs of a name and a
// value; empty values are left out.
func (f filter) link(address string, pairs ...string) string {
	values := f.values()
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	if len(values) == 0 {
		return address
	}
	return address + "?" + values.Encode()
}

// checkID says what is wrong with the id of a message.
func checkID(id string) error {
	if id == "" || len(id) > outbox.MaxIDLength || !isText(id) {
		return errID
	}
	return nil
}
