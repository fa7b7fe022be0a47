package core

import "context"

// JoinObservers combines several Observers into one, such as one for metrics
// and one of the app. Each receives all events, in the given order. The
// contexts of Publish and Send pass through all of them in this order, and the
// functions that they return are called in reverse.
func JoinObservers(observers ...Observer) Observer {
	var joined Observer
	for _, o := range observers {
		joined = joinTwo(joined, o)
	}
	return joined
}

func joinTwo(a, b Observer) Observer {
	return Observer{
		Published:     joinCalls(a.Published, b.Published),
		Delivered:     joinCalls(a.Delivered, b.Delivered),
		Stored:        joinCalls(a.Stored, b.Stored),
		Spilled:       joinCalls(a.Spilled, b.Spilled),
		Failed:        joinCalls(a.Failed, b.Failed),
		Dead:          joinCalls(a.Dead, b.Dead),
		NoConsumer:    joinCalls(a.NoConsumer, b.NoConsumer),
		Discarded:     joinCalls(a.Discarded, b.Discarded),
		Listed:        joinCalls(a.Listed, b.Listed),
		Recovered:     joinCalls(a.Recovered, b.Recovered),
		Breaker:       joinCalls(a.Breaker, b.Breaker),
		OutboxBreaker: joinCalls(a.OutboxBreaker, b.OutboxBreaker),
		Setup:         joinCalls(a.Setup, b.Setup),
		Publish:       joinPublish(a.Publish, b.Publish),
		Origin:        joinOrigin(a, b),
		Send:          joinSend(a, b),
	}
}

func joinCalls[T any](a, b func(T)) func(T) {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(value T) {
		a(value)
		b(value)
	}
}

type publishHook = func(context.Context, PublishCall) (context.Context, func(Receipt, error))

func joinPublish(a, b publishHook) publishHook {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(ctx context.Context, call PublishCall) (context.Context, func(Receipt, error)) {
		ctx, endA := a(ctx, call)
		ctx, endB := b(ctx, call)
		return ctx, func(receipt Receipt, err error) {
			if endB != nil {
				endB(receipt, err)
			}
			if endA != nil {
				endA(receipt, err)
			}
		}
	}
}

// twoOrigins holds the origins that two Observers returned for a message.
type twoOrigins struct{ a, b any }

func joinOrigin(a, b Observer) func(context.Context) any {
	if a.Origin == nil {
		return b.Origin
	}
	if b.Origin == nil {
		return a.Origin
	}
	return func(ctx context.Context) any {
		both := twoOrigins{a.Origin(ctx), b.Origin(ctx)}
		if both == (twoOrigins{}) {
			return nil
		}
		return both
	}
}

// originsFor returns the origins of one of two Observers.
func originsFor(origins []any, side func(twoOrigins) any) []any {
	var own []any
	for _, origin := range origins {
		if both, ok := origin.(twoOrigins); ok {
			if one := side(both); one != nil {
				own = append(own, one)
			}
		}
	}
	return own
}

func joinSend(a, b Observer) func(context.Context, SendCall) (context.Context, func(error)) {
	of := func(call SendCall, own, other Observer, side func(twoOrigins) any) SendCall {
		switch {
		case own.Origin == nil:
			call.Origins = nil
		case other.Origin != nil:
			call.Origins = originsFor(call.Origins, side)
		}
		return call
	}
	forA := func(call SendCall) SendCall { return of(call, a, b, func(t twoOrigins) any { return t.a }) }
	forB := func(call SendCall) SendCall { return of(call, b, a, func(t twoOrigins) any { return t.b }) }
	switch {
	case a.Send == nil && b.Send == nil:
		return nil
	case a.Send == nil:
		return func(ctx context.Context, call SendCall) (context.Context, func(error)) {
			return b.Send(ctx, forB(call))
		}
	case b.Send == nil:
		return func(ctx context.Context, call SendCall) (context.Context, func(error)) {
			return a.Send(ctx, forA(call))
		}
	}
	return func(ctx context.Context, call SendCall) (context.Context, func(error)) {
		ctx, endA := a.Send(ctx, forA(call))
		ctx, endB := b.Send(ctx, forB(call))
		return ctx, func(err error) {
			if endB != nil {
				endB(err)
			}
			if endA != nil {
				endA(err)
			}
		}
	}
}
