package outboxpage

import (
	"errors"
	"net/url"

	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// maxTopic is the maximum length of a topic in a filter, in bytes.
const maxTopic = 4096

// Errors of invalid requests.
var (
	errState = errors.New("the state must be “pending” or “dead”, or empty for all")
	errTopic = errors.New("the topic must be UTF-8 without NUL and have at most 4,096 bytes")
	errID    = errors.New("the id of a message must be UTF-8 without NUL and have 1 to 255 bytes")
)

// filter selects the messages of a list.
type filter struct {
	Topic, State string
	// Refresh makes browsers without JavaScript reload the list periodically.
	Refresh bool
}

// readFilter parses and checks a filter.
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

// of returns the filter with another topic and state.
func (f filter) of(topic, state string) filter {
	f.Topic, f.State = topic, state
	return f
}

// selects reports whether the filter excludes messages.
func (f filter) selects() bool { return f.Topic != "" || f.State != "" }

// state returns the state for a store's query; nil selects all states.
func (f filter) state() *outbox.State {
	states := map[string]outbox.State{"pending": outbox.Pending, "dead": outbox.Dead}
	if state, ok := states[f.State]; ok {
		return &state
	}
	return nil
}

// selection selects all messages of the filter.
func (f filter) selection() outbox.Selection {
	return outbox.Selection{Topic: f.Topic, All: f.Topic == "", State: f.state()}
}

// words describes the messages, to follow "all".
func (f filter) words(deliver string) string { return f.name("messages", deliver) }

// counted describes the messages with their number.
func (f filter) counted(n int, deliver string) string {
	if n == 1 {
		return "1 " + f.name("message", deliver)
	}
	return "all " + webpage.Grouped(n) + " " + f.name("messages", deliver)
}

// name adds the filter to the noun.
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

// values returns the filter as query parameters.
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

// link returns a relative address with the filter and further parameters, given as
// pairs of a name and a value. It omits empty values.
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

// checkID checks the id of a message.
func checkID(id string) error {
	if id == "" || len(id) > outbox.MaxIDLength || !isText(id) {
		return errID
	}
	return nil
}
