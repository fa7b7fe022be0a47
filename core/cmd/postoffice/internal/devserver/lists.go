package devserver

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/metadata"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// paging has the addresses of the neighbouring pages of a list; empty if there are none.
type paging struct{ Newer, Older string }

// topicList is a page of the topics.
type topicList struct {
	Rows  []topicRow
	Total int
	paging
}

type topicRow struct {
	ID                   int64
	Name, OriginHost     string
	Recovery             bool
	Consumers            int
	Messages             int
	MessagesLink, Choose string
}

// pages returns the range of rows on a page, counted from 0, and the links.
func pages(address string, number, rows, total int) (first, last int, links paging) {
	first = min(number*rows, max(total-1, 0)/rows*rows)
	last = min(first+rows, total)
	at := func(page int) string { return address + "?page=" + strconv.Itoa(page) }
	if first > 0 {
		links.Newer = at(first/rows - 1)
	}
	if last < total {
		links.Older = at(first/rows + 1)
	}
	return first, last, links
}

func (a *app) listTopics(number, rows int) topicList {
	topics, counts := a.server.Topics(), a.operator.MessageCounts()
	consumers := make(map[string]int)
	for _, consumer := range a.server.Consumers() {
		if !consumer.Deleted {
			consumers[consumer.Topic]++
		}
	}
	first, last, links := pages("/dev/topics", number, rows, len(topics))
	list := topicList{Total: len(topics), paging: links}
	for _, topic := range topics[first:last] {
		list.Rows = append(list.Rows, topicRow{
			ID: topic.ID, Name: topic.Name, OriginHost: topic.PublicOriginHost(), Recovery: topic.RecoveryEnabled,
			Consumers: consumers[topic.Name], Messages: counts[topic.Name],
			MessagesLink: "/dev/messages?" + url.Values{"topic": {topic.Name}}.Encode(),
			Choose:       "/?" + url.Values{"topic": {topic.Name}}.Encode() + "#publish",
		})
	}
	return list
}

// topicChoices returns the topics to choose from, and the number of further topics.
func (a *app) topicChoices() (names []string, more int) {
	for i, topic := range a.server.Topics() {
		if i == choices {
			return names, len(a.server.Topics()) - choices
		}
		names = append(names, topic.Name)
	}
	return names, 0
}

// consumerList is a page of the consumers.
type consumerList struct {
	Rows  []consumerRow
	Total int
	paging
}

type consumerRow struct {
	ID                  int64
	Topic, Target, Type string
	State               webpage.Badge
	Timeout             string
	Paused, Steerable   bool
	Deleted             bool
	Totals              postofficetest.Totals
}

func (a *app) listConsumers(number, rows int) consumerList {
	consumers, totals := a.server.Consumers(), a.operator.ConsumerTotals()
	// Deleted consumers come last.
	slices.SortStableFunc(consumers, func(x, y postofficetest.Consumer) int {
		switch {
		case x.Deleted == y.Deleted:
			return 0
		case x.Deleted:
			return 1
		default:
			return -1
		}
	})
	first, last, links := pages("/dev/consumers", number, rows, len(consumers))
	list := consumerList{Total: len(consumers), paging: links}
	for _, consumer := range consumers[first:last] {
		row := consumerRow{
			ID: consumer.ID, Topic: consumer.Topic, Target: consumer.PublicTarget(), Type: consumer.Type,
			State: webpage.Good("active"), Timeout: seconds(consumer.Timeout),
			Paused: consumer.Paused && consumer.Heeded, Steerable: !consumer.Deleted && consumer.Type == postofficetest.TypeHTTP,
			Deleted: consumer.Deleted, Totals: totals[consumer.ID],
		}
		switch {
		case consumer.Deleted:
			row.State = webpage.Plain("deleted")
		case row.Paused:
			row.State = webpage.Busy("paused")
		case consumer.Type == postofficetest.TypePubSub:
			row.State = webpage.Plain("shown, not sent")
		case consumer.Paused:
			row.State = webpage.Bad("pause ignored")
		}
		list.Rows = append(list.Rows, row)
	}
	return list
}

// messageList is a page of the messages, newest first.
type messageList struct {
	Rows []messageRow
	Find finder
	paging
}

type messageRow struct {
	Number         int64
	At             webpage.Moment
	Topic, Preview string
	Via            string
	Results        []webpage.Badge
}

func (a *app) listMessages(wanted search, below int64, rows int) messageList {
	const address = "/dev/messages"
	now := time.Now()
	list := messageList{Find: finder{search: wanted, Action: address, States: messageStates, Hint: "topic, payload, attributes"}}
	var filter func(postofficetest.Message, []postofficetest.Job) bool
	if list.Find.Selects() {
		filter = wanted.message
	}
	messages := a.operator.RecentMessages(below, rows+1, filter)
	if below > 0 {
		list.Newer = wanted.link(address, 0)
	}
	if len(messages) > rows {
		messages = messages[:rows]
		list.Older = wanted.link(address, messages[rows-1].Number)
	}
	var ids []int64
	for _, message := range messages {
		ids = append(ids, message.JobIDs...)
	}
	statuses := make(map[int64]postofficetest.JobStatus, len(ids))
	for _, status := range a.operator.JobStatuses(ids) {
		statuses[status.ID] = status
	}
	paused := a.pausedConsumers()
	for _, message := range messages {
		list.Rows = append(list.Rows, messageRow{
			Number: message.Number, At: momentOf(message.AcceptedAt, now), Topic: message.Topic,
			Preview: webpage.Preview(message.Payload),
			Via:     message.Via.String(), Results: results(message, statuses, paused),
		})
	}
	return list
}

// results summarizes the states of a message's jobs.
func results(message postofficetest.Message, statuses map[int64]postofficetest.JobStatus, paused map[int64]bool) []webpage.Badge {
	if message.ThrownAway() {
		return []webpage.Badge{webpage.Bad("no consumer, discarded")}
	}
	var order []webpage.Badge
	counts := make(map[webpage.Badge]int)
	for _, id := range slices.Backward(message.JobIDs) {
		status, known := statuses[id]
		if !known {
			continue // no longer in the history
		}
		result := jobBadge(status, paused[status.ConsumerID])
		if counts[result]++; counts[result] == 1 {
			order = append(order, result)
		}
	}
	for i, result := range order {
		if counts[result] > 1 {
			order[i].Text = webpage.Grouped(counts[result]) + " × " + result.Text
		}
	}
	return order
}

// pausedConsumers returns the consumers to which nothing is delivered.
func (a *app) pausedConsumers() map[int64]bool {
	paused := make(map[int64]bool)
	for _, consumer := range a.server.Consumers() {
		if consumer.Paused && consumer.Heeded {
			paused[consumer.ID] = true
		}
	}
	return paused
}

// attemptList is a page of the attempts, newest first.
type attemptList struct {
	Rows []attemptRow
	Find finder
	// OfOne means that the list is on the page of a message.
	OfOne bool
	paging
}

type attemptRow struct {
	Number, Message, Job int64
	Attempt              int
	At                   webpage.Moment
	Topic, Target        string
	// Outcome is a word or a status, Detail the rest of the result.
	Outcome webpage.Badge
	Detail  string
	// Retry is set for the last attempt of a job that can be retried now; Due is the
	// time of its next attempt.
	Retry bool
	Due   webpage.Moment
}

func (a *app) listAttempts(wanted search, below int64, rows int) attemptList {
	const address = "/dev/attempts"
	now := time.Now()
	list := attemptList{Find: finder{search: wanted, Action: address, States: attemptStates, Hint: "topic, target, result"}}
	var filter func(postofficetest.Attempt) bool
	if list.Find.Selects() {
		filter = wanted.attempt
	}
	attempts := a.operator.RecentAttempts(below, rows+1, filter)
	if below > 0 {
		list.Newer = wanted.link(address, 0)
	}
	if len(attempts) > rows {
		attempts = attempts[:rows]
		list.Older = wanted.link(address, attempts[rows-1].Number)
	}
	ids := make([]int64, 0, len(attempts))
	for _, made := range attempts {
		if !made.Acknowledged() {
			ids = append(ids, made.JobID)
		}
	}
	statuses := make(map[int64]postofficetest.JobStatus, len(ids))
	for _, status := range a.operator.JobStatuses(ids) {
		statuses[status.ID] = status
	}
	paused := a.pausedConsumers()
	for _, made := range attempts {
		status := statuses[made.JobID]
		row := attemptRow{
			Number: made.Number, Message: made.Message, Job: made.JobID, Attempt: made.Attempt,
			At: momentOf(made.StartedAt, now), Topic: made.Topic, Target: made.Target,
		}
		row.Outcome, row.Detail = outcome(made.Delivery)
		if status.Attempts == made.Attempt && retryable(status, paused[status.ConsumerID]) {
			row.Retry = true
			if status.State == postofficetest.Pending {
				row.Due = momentOf(status.DueAt, now)
			}
		}
		list.Rows = append(list.Rows, row)
	}
	return list
}

// retryable reports whether a job can be retried now.
func retryable(status postofficetest.JobStatus, paused bool) bool {
	switch status.State {
	case postofficetest.Pending:
		return !status.UnderWay && !paused
	case postofficetest.GivenUp:
		return !paused
	default:
		return false
	}
}

// runRow is a run of the rescuer.
type runRow struct {
	At         webpage.Moment
	OriginHost string
	Listed     int
	Published  int
	Result     webpage.Badge
}

// listRuns lists the newest runs of the rescuer.
func (a *app) listRuns() []runRow {
	const most = 5
	now := time.Now()
	var rows []runRow
	for _, run := range a.operator.RecentRuns(most) {
		row := runRow{
			At: momentOf(run.At, now), OriginHost: run.OriginHost, Listed: run.Listed, Published: run.Published,
			Result: webpage.Good("ok"),
		}
		if len(run.Errors) > 0 {
			row.Result = webpage.Bad(webpage.Shown(run.Errors[0], maxReason))
		}
		rows = append(rows, row)
	}
	return rows
}

// messageBody is the content of the page of a message.
type messageBody struct {
	Number                int64
	Topic, Via, TopicLink string
	At                    webpage.Moment
	DeliverAt             webpage.Moment
	Payload, Attributes   text
	// Metadata is shown separately from the payload; empty if there is none.
	Metadata  string
	Jobs      []jobRow
	Discarded bool
	Attempts  attemptList
}

// text is a payload or a set of attributes.
type text struct {
	Shown string
	Bytes int
	// Cut means that Shown is only the beginning, Missing that the message does not
	// have this part, and Apart that metadata is shown separately.
	Cut, Missing, Apart bool
	Link                string
}

type jobRow struct {
	ID       int64
	Target   string
	Consumer int64
	State    webpage.Badge
	Attempts int
	Due      webpage.Moment
	// Retry and Cancel say which actions are possible.
	Retry, Cancel bool
}

func (a *app) messageBody(message postofficetest.Message) messageBody {
	now := time.Now()
	payload, apart := metadata.Cut(message.Payload)
	address := "/dev/messages/" + strconv.FormatInt(message.Number, 10)
	body := messageBody{
		Number: message.Number, Topic: message.Topic, Via: message.Via.String(), At: momentOf(message.AcceptedAt, now),
		TopicLink:  "/dev/messages?" + url.Values{"topic": {message.Topic}}.Encode(),
		Payload:    textOf(payload, len(message.Payload), address+"/payload"),
		Attributes: textOf(message.Attributes, len(message.Attributes), address+"/attributes"),
		Discarded:  message.ThrownAway(), Attempts: a.listAttempts(search{Message: message.Number}, 0, pageRows),
	}
	body.Attempts.OfOne = true
	body.Metadata, _ = webpage.Content(apart, len(apart))
	if !message.DeliverAt.IsZero() {
		body.DeliverAt = momentOf(message.DeliverAt, now)
	}
	paused := a.pausedConsumers()
	for _, status := range a.operator.JobStatuses(message.JobIDs) {
		row := jobRow{
			ID: status.ID, Target: status.Target, Consumer: status.ConsumerID,
			State: jobBadge(status, paused[status.ConsumerID]), Attempts: status.Attempts,
			Retry: retryable(status, paused[status.ConsumerID]),
		}
		if status.State == postofficetest.Pending && !status.UnderWay {
			row.Due, row.Cancel = momentOf(status.DueAt, now), true
		}
		body.Jobs = append(body.Jobs, row)
	}
	slices.SortFunc(body.Jobs, func(x, y jobRow) int { return int(x.ID - y.ID) })
	return body
}

// textOf returns a part of a message; bytes is its size including metadata.
func textOf(raw []byte, bytes int, link string) text {
	shown, cut := webpage.Content(raw, len(raw))
	return text{Shown: shown, Bytes: bytes, Missing: raw == nil, Apart: len(raw) < bytes, Link: link, Cut: cut}
}
