package devserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// maxTimeout is the maximum timeout of a consumer, in seconds.
const maxTimeout = 24 * 60 * 60

// entries are the fields of a form and their errors.
type entries struct {
	Values, Errors map[string]string
}

// entriesOf reads fields of a submitted form.
func entriesOf(r *http.Request, fields ...string) entries {
	e := entries{Values: make(map[string]string), Errors: make(map[string]string)}
	for _, field := range fields {
		e.Values[field] = strings.TrimSpace(r.PostForm.Get(field))
	}
	return e
}

// required checks a required text.
func (e entries) required(field string) string {
	text := e.Values[field]
	switch {
	case text == "":
		e.Errors[field] = "This field is required."
	case utf8.RuneCountInString(text) > wire.MaxNameLength:
		e.Errors[field] = fmt.Sprintf("Enter at most %d characters.", wire.MaxNameLength)
	case strings.ContainsRune(text, 0):
		e.Errors[field] = "The NUL character is not allowed."
	}
	return text
}

// seconds parses a whole number of seconds.
func (e entries) seconds(field string) time.Duration {
	number, err := strconv.Atoi(e.Values[field])
	if err != nil || number < 1 || number > maxTimeout {
		e.Errors[field] = fmt.Sprintf("Enter a whole number of seconds from 1 to %d.", maxTimeout)
	}
	return time.Duration(number) * time.Second
}

// topicsBody is the content of the page of topics.
type topicsBody struct {
	List topicList
	Form entries
}

func (a *app) topics(w http.ResponseWriter, r *http.Request) {
	a.showTopics(w, r, http.StatusOK, entries{})
}

func (a *app) showTopics(w http.ResponseWriter, r *http.Request, status int, form entries) {
	body := topicsBody{a.listTopics(pageNumber(r), pageRows), form}
	a.render(w, status, "topics", a.newPage(r, "Topics", "topics", body))
}

func (a *app) createTopic(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	form := entriesOf(r, "name", "origin_host", "recovery")
	topic := postofficetest.Topic{
		Name: form.required("name"), OriginHost: form.required("origin_host"), RecoveryEnabled: form.Values["recovery"] != "",
	}
	if len(form.Errors) == 0 {
		err := a.server.AddTopic(topic)
		switch {
		case err == nil:
			back(w, r, noteTopic, 0)
			return
		case errors.Is(err, postofficetest.ErrTaken):
			form.Errors["name"] = "A topic with this name already exists."
		default:
			form.Errors["name"] = unaccepted(err)
		}
	}
	a.showTopics(w, r, http.StatusUnprocessableEntity, form)
}

// unaccepted formats an error of the server for a page.
func unaccepted(err error) string {
	return "The server does not accept it: " + strings.TrimPrefix(err.Error(), "postofficetest: ") + "."
}

// consumersBody is the content of the page of consumers.
type consumersBody struct {
	List   consumerList
	Topics []string
	More   int
	Form   entries
}

func (a *app) consumers(w http.ResponseWriter, r *http.Request) {
	form := entries{Values: map[string]string{"topic": r.URL.Query().Get("topic"), "timeout": "5", "active": "on"}}
	a.showConsumers(w, r, http.StatusOK, form)
}

func (a *app) showConsumers(w http.ResponseWriter, r *http.Request, status int, form entries) {
	body := consumersBody{List: a.listConsumers(pageNumber(r), pageRows), Form: form}
	body.Topics, body.More = a.topicChoices()
	a.render(w, status, "consumers", a.newPage(r, "Consumers", "consumers", body))
}

func (a *app) createConsumer(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	form := entriesOf(r, "target", "type", "timeout", "active")
	form.Values["topic"] = r.PostForm.Get("topic") // a name can begin with a space
	consumer := postofficetest.Consumer{
		Topic: form.Values["topic"], Target: form.required("target"), Type: form.Values["type"],
		Timeout: form.seconds("timeout"), Paused: form.Values["active"] == "",
	}
	if !slices.ContainsFunc(a.server.Topics(), func(t postofficetest.Topic) bool { return t.Name == consumer.Topic }) {
		form.Errors["topic"] = "Choose a topic that exists."
	}
	if consumer.Type != postofficetest.TypeHTTP && consumer.Type != postofficetest.TypePubSub {
		form.Errors["type"] = "Choose one of the types."
	}
	if len(form.Errors) == 0 {
		_, err := a.server.AddConsumer(consumer)
		switch {
		case err == nil:
			back(w, r, noteConsumer, 0)
			return
		case errors.Is(err, postofficetest.ErrTaken):
			form.Errors["target"] = a.taken(consumer)
		default:
			form.Errors["target"] = unaccepted(err)
		}
	}
	a.showConsumers(w, r, http.StatusUnprocessableEntity, form)
}

// taken returns the error of a consumer that already exists or was deleted.
func (a *app) taken(consumer postofficetest.Consumer) string {
	for _, other := range a.server.Consumers() {
		if other.Topic == consumer.Topic && other.Target == consumer.Target && other.Type == consumer.Type && other.Deleted {
			return "The topic's consumer with this target and type was deleted. It can never be created again, as on the real server."
		}
	}
	return "The topic already has a consumer with this target and type."
}

// consumerBody is the content of the page of a consumer.
type consumerBody struct {
	ID          int64
	Topic, Type string
	// Credentials means that the target contains credentials, which are not shown.
	Credentials bool
	Form        entries
}

// consumerOf returns the consumer that a path names, or sends an error page.
func (a *app) consumerOf(w http.ResponseWriter, r *http.Request) (postofficetest.Consumer, bool) {
	id := number(r)
	consumers := a.server.Consumers()
	index := slices.IndexFunc(consumers, func(c postofficetest.Consumer) bool { return c.ID == id && !c.Deleted })
	if index < 0 {
		a.notice(w, r, http.StatusNotFound, "No such consumer", "There is no consumer with this number, or it was deleted.")
		return postofficetest.Consumer{}, false
	}
	return consumers[index], true
}

func (a *app) consumer(w http.ResponseWriter, r *http.Request) {
	consumer, found := a.consumerOf(w, r)
	if !found {
		return
	}
	form := entries{Values: map[string]string{"target": consumer.PublicTarget(), "timeout": fmt.Sprintf("%g", consumer.Timeout.Seconds())}}
	if !consumer.Paused {
		form.Values["active"] = "on"
	}
	a.showConsumer(w, r, http.StatusOK, consumer, form)
}

func (a *app) showConsumer(w http.ResponseWriter, r *http.Request, status int, consumer postofficetest.Consumer, form entries) {
	body := consumerBody{
		ID: consumer.ID, Topic: consumer.Topic, Type: consumer.Type, Form: form,
		Credentials: consumer.PublicTarget() != consumer.Target,
	}
	a.render(w, status, "consumer", a.newPage(r, fmt.Sprintf("Consumer %d", consumer.ID), "consumers", body))
}

func (a *app) changeConsumer(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	consumer, found := a.consumerOf(w, r)
	if !found {
		return
	}
	form := entriesOf(r, "target", "timeout", "active")
	changed := consumer
	if target := form.required("target"); target != consumer.PublicTarget() { // an unchanged target keeps its credentials
		changed.Target = target
	}
	changed.Timeout, changed.Paused = form.seconds("timeout"), form.Values["active"] == ""
	if len(form.Errors) == 0 {
		err := a.operator.UpdateConsumer(changed)
		switch {
		case err == nil:
			back(w, r, noteChanged, 0)
			return
		case errors.Is(err, postofficetest.ErrTaken):
			form.Errors["target"] = a.taken(changed)
		default:
			form.Errors["target"] = unaccepted(err)
		}
	}
	a.showConsumer(w, r, http.StatusUnprocessableEntity, consumer, form)
}
