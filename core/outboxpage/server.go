package outboxpage

import (
	"context"
	"errors"
	"fmt"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// maxFailures is the maximum number of setup failures on a page.
const maxFailures = 10

// serverBody is the state of the server and the client.
type serverBody struct {
	Health       webpage.Badge
	HealthReason string
	Asked        webpage.Moment
	Breaker      webpage.Badge
	// OutboxBreaker is the circuit breaker of the outbox; nil if it is closed.
	OutboxBreaker *webpage.Badge
	Setup         webpage.Badge
	Failures      []string
	More          int
}

// server returns the state of the server and the client.
func (p *page) server(ctx context.Context) serverBody {
	body := serverBody{Health: webpage.Good("healthy")}
	asked, err := p.health.check(ctx)
	now := p.now()
	body.Asked = momentOf(asked, now, ago(now.Sub(asked)))
	if err != nil {
		body.Health = webpage.Bad("no response")
		response, _ := errors.AsType[*core.ResponseError](err)
		if response != nil || errors.Is(err, core.ErrUnhealthy) {
			body.Health = webpage.Bad("unhealthy")
		}
		body.HealthReason = reason(err)
	}
	status := p.client.Status()
	body.Breaker = breakerBadge(status.Breaker)
	if badge := outboxBreakerBadge(status.OutboxBreaker); badge.Text != "" {
		body.OutboxBreaker = &badge
	}
	body.Setup = setupBadge(status)
	for _, result := range status.Setup.Failed() {
		if len(body.Failures) == maxFailures {
			body.More++
			continue
		}
		body.Failures = append(body.Failures, webpage.Shown(fmt.Sprintf("%v: %v", result, result.Err), maxReason))
	}
	return body
}

func breakerBadge(state core.BreakerState) webpage.Badge {
	switch state {
	case core.BreakerOpen:
		return webpage.Bad("open: messages go to the outbox")
	case core.BreakerHalfOpen:
		return webpage.Busy("half-open: probing the server")
	default:
		return webpage.Good("closed: messages go to the server")
	}
}

// outboxBreakerBadge returns an empty badge for a closed breaker.
func outboxBreakerBadge(state core.BreakerState) webpage.Badge {
	switch state {
	case core.BreakerOpen:
		return webpage.Bad("open: the outbox does not respond")
	case core.BreakerHalfOpen:
		return webpage.Busy("half-open: probing the outbox")
	default:
		return webpage.Badge{}
	}
}

func setupBadge(status core.Status) webpage.Badge {
	done := len(status.Setup.Topics) + len(status.Setup.Consumers)
	failed := len(status.Setup.Failed())
	switch {
	case failed > 0:
		return webpage.Bad(fmt.Sprintf("%s of %s failed", webpage.Grouped(failed), webpage.Grouped(done)))
	case status.Untried > 0:
		return webpage.Busy(webpage.Grouped(status.Untried) + " not tried yet")
	case done == 0:
		return webpage.Plain("nothing configured")
	default:
		return webpage.Good(webpage.Counted(len(status.Setup.Topics), "topic", "topics") + ", " +
			webpage.Counted(len(status.Setup.Consumers), "consumer", "consumers"))
	}
}

// reason returns the text of an error for the page.
func reason(err error) string { return webpage.Shown(err.Error(), maxReason) }
