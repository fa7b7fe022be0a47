package devserver

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// Limits of the fields.
const (
	maxTimes   = 1_000_000
	maxSeconds = 300
)

// statuses are the status codes with which a broken server can respond.
var statuses = []int{500, 502, 503, 504, 429, 401, 404, 413}

// breakBody is the content of the page that breaks the server.
type breakBody struct {
	Broken   bool
	Statuses []statusChoice
	// Values are the submitted values and Errors their errors, by field.
	Values, Errors map[string]string
}

type statusChoice struct {
	Status   int
	Text     string
	Selected bool
}

func (a *app) breaking(w http.ResponseWriter, r *http.Request) {
	a.showBreak(w, r, http.StatusOK, map[string]string{"slow": "2", "refuse": "15"}, nil)
}

func (a *app) showBreak(w http.ResponseWriter, r *http.Request, status int, values, wrong map[string]string) {
	body := breakBody{
		Broken: a.operator.Trouble() != (postofficetest.Trouble{}), Values: values, Errors: wrong,
	}
	for _, choice := range statuses {
		body.Statuses = append(body.Statuses, statusChoice{
			choice, strconv.Itoa(choice) + " " + http.StatusText(choice),
			values["status"] == strconv.Itoa(choice) || values["status"] == "" && choice == http.StatusServiceUnavailable,
		})
	}
	a.render(w, status, "break", a.newPage(r, "Break the server", "break", body))
}

// breakForm parses a form that breaks the server.
type breakForm struct {
	values, errors map[string]string
}

// whole parses a field with a whole number of at least 1; zero if it is empty and not
// needed.
func (f *breakForm) whole(field string, needed bool, most int) int {
	text := strings.TrimSpace(f.values[field])
	if text == "" && !needed {
		return 0
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > most {
		f.errors[field] = fmt.Sprintf("Enter a whole number from 1 to %d.", most)
	}
	return number
}

// seconds parses a field with a number of seconds.
func (f *breakForm) seconds(field string) time.Duration {
	number, err := strconv.ParseFloat(strings.TrimSpace(f.values[field]), 64)
	if err != nil || !(number >= 0.1 && number <= maxSeconds) {
		f.errors[field] = fmt.Sprintf("Enter a number of seconds from 0.1 to %d.", maxSeconds)
		return 0
	}
	return time.Duration(number * float64(time.Second))
}

func (a *app) breakServer(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	form := breakForm{values: make(map[string]string), errors: make(map[string]string)}
	for _, field := range []string{"status", "times", "retry", "slow", "refuse"} {
		form.values[field] = r.PostForm.Get(field)
	}
	var trouble postofficetest.Trouble
	var refuse time.Duration
	switch r.PostForm.Get("how") {
	case "status":
		status, err := strconv.Atoi(form.values["status"])
		if err != nil || !slices.Contains(statuses, status) {
			form.errors["status"] = "Choose one of the responses."
		}
		trouble.Status, trouble.Times = status, form.whole("times", false, maxTimes)
		trouble.RetryAfter = time.Duration(form.whole("retry", false, maxSeconds)) * time.Second
	case "slow":
		trouble.Delay = form.seconds("slow")
	case "hang":
		trouble.Hang = true
	case "reset":
		trouble.Reset = true
	case "drop":
		trouble.Drop = true
	case "unwell":
		trouble.Unwell = true
	case "refuse":
		refuse = time.Duration(form.whole("refuse", true, maxSeconds)) * time.Second
	default:
		a.notice(w, r, http.StatusBadRequest, "Invalid request", "The form does not say how to break the server.")
		return
	}
	switch {
	case len(form.errors) > 0:
		a.showBreak(w, r, http.StatusUnprocessableEntity, form.values, form.errors)
	case refuse > 0:
		a.refuseConnections(w, r, refuse)
	default:
		a.operator.Break(trouble)
		back(w, r, noteBroken, 0)
	}
}

func (a *app) mend(w http.ResponseWriter, r *http.Request) {
	if !a.read(w, r) {
		return
	}
	a.operator.Break(postofficetest.Trouble{})
	back(w, r, noteMended, 0)
}

// refuseConnections stops listening for a while. The page cannot be reached during that
// time either, so the response says when it will be back, and reloads then.
func (a *app) refuseConnections(w http.ResponseWriter, r *http.Request, d time.Duration) {
	until := momentOf(time.Now().Add(d), time.Now())
	content := a.newPage(r, "Connections are refused", "break",
		"The server and this page cannot be reached until "+until.Text+". This page reloads by itself then.")
	content.Refresh = fmt.Sprintf("%d; url=/dev/break", int(d.Seconds())+1)
	w.Header().Set("Connection", "close")
	a.render(w, http.StatusOK, "notice", content)
	_ = http.NewResponseController(w).Flush() // the browser may have disconnected
	a.start(func() { a.stayAway(d) })
}

// comeBack is the interval between attempts to listen again.
const comeBack = 500 * time.Millisecond

func (a *app) stayAway(d time.Duration) {
	a.server.Stop()
	timer := time.NewTimer(d)
	defer timer.Stop()
	for logged := false; ; {
		select {
		case <-a.ctx.Done():
			return
		case <-timer.C:
		}
		err := a.server.Restart()
		if err == nil {
			return
		}
		if !logged && a.ctx.Err() == nil {
			a.options.Logger.Error("the development server cannot listen again and keeps trying", "error", err)
			logged = true
		}
		timer.Reset(comeBack)
	}
}
