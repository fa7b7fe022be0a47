package outboxpage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/webpage"
)

// maxFailures is how many failures of setup a page lists.
const maxFailures = 10

// serverBody is how the server and the client are.
type serverBody struct {
	Health       badge
	HealthReason string
	Asked        moment
	Breaker      badge
	Setup        badge
	Failures     []string
	More         int
}

// server tells how the server and the client are.
func (p *page) server(ctx context.Context) serverBody {
	body := serverBody{Health: badge{"well", "good"}}
	asked, err := p.health.check(ctx)
	body.Asked = momentOf(asked, ago(time.Since(asked)))
	if err != nil {
		body.Health = badge{"no answer", "bad"}
		response, _ := errors.AsType[*core.ResponseError](err)
		if response != nil || errors.Is(err, core.ErrUnhealthy) {
			body.Health = badge{"not well", "bad"}
		}
		body.HealthReason = reason(err)
	}
	status := p.client.Status()
	body.Breaker = breakerBadge(status.Breaker)
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

func breakerBadge(state core.BreakerState) badge {
	switch state {
	case core.BreakerOpen:
		return badge{"open: messages go to the outbox", "bad"}
	case core.BreakerHalfOpen:
		return badge{"half-open: the server is being tried", "busy"}
	default:
		return badge{"closed: messages go to the server", "good"}
	}
}

func setupBadge(status core.Status) badge {
	done := len(status.Setup.Topics) + len(status.Setup.Consumers)
	failed := len(status.Setup.Failed())
	switch {
	case failed > 0:
		return badge{fmt.Sprintf("%s of %s failed", grouped(failed), grouped(done)), "bad"}
	case status.Untried > 0:
		return badge{grouped(status.Untried) + " not tried yet", "busy"}
	case done == 0:
		return badge{"nothing is configured", ""}
	default:
		return badge{counted(len(status.Setup.Topics), "topic", "topics") + ", " +
			counted(len(status.Setup.Consumers), "consumer", "consumers"), "good"}
	}
}

// reason is an error for the page.
func reason(err error) string { return webpage.Shown(err.Error(), maxReason) }
