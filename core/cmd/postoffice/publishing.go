package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/stream"
)

// maxShown bounds the lists in a result.
const maxShown = 100

// publishResult is the JSON of publish, described in its help.
type publishResult struct {
	Topic            string           `json:"topic"`
	Accepted         int              `json:"accepted"`
	Delivered        int              `json:"delivered"`
	Stored           int              `json:"stored"`
	Dead             int              `json:"dead"`
	WithoutConsumer  int              `json:"without_consumer"`
	Invalid          int              `json:"invalid"`
	NotAccepted      int              `json:"not_accepted"`
	NotAcceptedLines []string         `json:"not_accepted_lines,omitempty"`
	StoredIDs        []string         `json:"stored_ids,omitempty"`
	Problems         []publishFinding `json:"problems,omitempty"`
	NextLine         int              `json:"next_line,omitempty"`
	Interrupted      bool             `json:"interrupted,omitempty"`
	Error            string           `json:"error,omitempty"`
}

// publishFinding is a line that is not a message.
type publishFinding struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// tally counts the outcomes of messages.
type tally struct{ delivered, stored, dead, withoutConsumer atomic.Int64 }

func (t *tally) observer() core.Observer {
	count := func(into *atomic.Int64) func(core.Event) {
		return func(event core.Event) { into.Add(int64(event.Messages)) }
	}
	return core.Observer{
		Delivered: count(&t.delivered), Stored: count(&t.stored), Dead: count(&t.dead), NoConsumer: count(&t.withoutConsumer),
	}
}

// publisher publishes: a client.
type publisher interface {
	stream.Publisher
	Publish(ctx context.Context, topic string, payload any, options ...core.PublishOption) (core.Receipt, error)
}

// publishing is a publish in progress.
type publishing struct {
	app     *app
	client  publisher
	config  core.Config
	tally   *tally
	address string
	topic   string
	options []core.PublishOption
	flags   *publishFlags
	result  publishResult
}

// single publishes the input as one message.
func (p *publishing) single(ctx context.Context, input io.Reader, name string) error {
	text, err := readAll(ctx, input, stream.MaxLine)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return exit.New(exit.Failed, "", fmt.Errorf("%s cannot be read: %w", name, err))
	case len(text) > stream.MaxLine:
		return exit.New(exit.Failed, "without --single each line is a separate message", fmt.Errorf("%s %w", name, stream.ErrLineTooLong))
	}
	return p.one(ctx, name, bytes.TrimPrefix(text, []byte("\ufeff")))
}

// one publishes one message.
func (p *publishing) one(ctx context.Context, name string, text []byte) error {
	text = bytes.TrimSpace(text)
	receipt, err := p.client.Publish(ctx, p.topic, json.RawMessage(text), p.options...)
	p.storedIDs(receipt.IDs)
	if err == nil {
		p.result.Accepted = 1
		return p.finish(ctx, nil, nil)
	}
	if _, problem, ok := stream.InvalidPayload(err); ok {
		p.result.Invalid = 1
		return p.finish(ctx, exit.New(exit.Failed, "", fmt.Errorf("%s %w", name, stream.Explain(text, problem))), nil)
	}
	if !errors.Is(err, core.ErrInvalidMessage) {
		p.result.NotAccepted = 1
	}
	return p.finish(ctx, err, nil)
}

// lines publishes each line of the input.
func (p *publishing) lines(ctx context.Context, input *os.File, name string) error {
	if input == p.app.stdin && isTerminal(input) {
		p.app.say("postoffice: type messages, one JSON object per line, and end with Ctrl-D")
	}
	bar := p.bar(input)
	report := stream.Run(ctx, p.client, input, stream.Options{
		Topic:       p.topic,
		Publish:     p.options,
		Limit:       cmp.Or(p.config.BulkLimit, core.DefaultBulkLimit),
		Bytes:       core.DefaultBatchBytes,
		SkipInvalid: p.flags.skip,
		OnInvalid:   func(line int, err error) { p.invalid(bar, name, line, err) },
		OnStored:    p.storedIDs,
		OnProgress:  bar.Set,
	})
	bar.Close()
	p.result.Accepted = report.Accepted
	p.result.Invalid = report.Invalid
	p.result.NotAccepted = report.NotAccepted.Count()
	p.result.NotAcceptedLines = report.NotAccepted.Strings()
	p.result.NextLine = report.NextLine
	return p.finish(ctx, inputError(name, report.Err), &report)
}

// inputError adds a code and a hint to errors of the input, and returns others
// unchanged.
func inputError(name string, err error) error {
	hint := "--skip-invalid continues after lines that are not messages"
	switch {
	case errors.As(err, new(*stream.ReadError)):
		hint = ""
	case !errors.As(err, new(*stream.InvalidLineError)):
		return err
	case errors.Is(err, stream.ErrTruncated):
		hint = "a message that spans several lines needs --single; " + hint
	}
	return exit.New(exit.Failed, hint, fmt.Errorf("%s: %w", name, err))
}

// bar returns a progress bar if stderr is a terminal and the messages are not typed
// there.
func (p *publishing) bar(input *os.File) *stream.Bar {
	if p.flags.noProgress || !isTerminal(p.app.stderr) || isTerminal(input) {
		return nil
	}
	size := int64(0)
	if info, err := input.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return stream.NewBar(p.app.stderr, size)
}

// invalid records a line that is not a message.
func (p *publishing) invalid(bar *stream.Bar, name string, line int, err error) {
	if len(p.result.Problems) < maxShown {
		p.result.Problems = append(p.result.Problems, publishFinding{line, err.Error()})
	}
	if p.flags.skip {
		bar.Clear()
		p.app.say("postoffice: %s: line %d %v; skipped", name, line, err)
	}
}

func (p *publishing) storedIDs(ids []string) {
	free := maxShown - len(p.result.StoredIDs)
	p.result.StoredIDs = append(p.result.StoredIDs, ids[:min(free, len(ids))]...)
}

// finish writes the result and returns the error, if any. report is that of lines;
// nil for one message.
func (p *publishing) finish(ctx context.Context, failed error, report *stream.Report) error {
	r := &p.result
	r.Topic = p.topic
	r.Delivered = int(p.tally.delivered.Load())
	r.Stored = int(p.tally.stored.Load())
	r.Dead = int(p.tally.dead.Load())
	r.WithoutConsumer = int(p.tally.withoutConsumer.Load())
	ended := report == nil && failed == nil || report != nil && report.NextLine == 0
	r.Interrupted = exit.OfSignal(ctx) != exit.OK && !ended
	r.Error = p.app.errorText(failed)
	written := p.app.result(r, func(w io.Writer) { _, _ = fmt.Fprintln(w, r.text()) })
	p.remarks(report)
	if err := p.verdict(ctx, failed); err != nil {
		return err
	}
	return written
}

// text returns the result as text.
func (r *publishResult) text() string {
	text := fmt.Sprintf("%s accepted", plural(r.Accepted, "message"))
	if r.Stored > 0 || r.Dead > 0 {
		text += fmt.Sprintf(": %d delivered, %d stored in the outbox", r.Delivered, r.Stored+r.Dead)
	}
	return text
}

// remarks prints what the user should know besides the counts.
func (p *publishing) remarks(report *stream.Report) {
	r := &p.result
	if r.Dead > 0 {
		p.app.say("postoffice: the server refuses %s permanently: kept in the outbox as dead; see: postoffice outbox list --state dead", plural(r.Dead, "message"))
	}
	if r.WithoutConsumer > 0 {
		p.app.say("postoffice: the topic %q has no consumer: the server has discarded %s", p.topic, plural(r.WithoutConsumer, "message"))
	}
	if report == nil {
		return
	}
	if r.Accepted+r.Invalid+r.NotAccepted == 0 && r.NextLine == 0 {
		p.app.say("postoffice: the input was empty: nothing was published")
	}
	if r.NotAccepted > 0 {
		p.app.say("postoffice: not accepted: %s %v", lineWord(r.NotAccepted), &report.NotAccepted)
	}
	if r.NextLine > 0 {
		p.app.say("postoffice: not tried: line %d and later; to continue there: tail -n +%d", r.NextLine, r.NextLine)
	}
}

func lineWord(n int) string {
	if n == 1 {
		return "line"
	}
	return "lines"
}

// verdict returns the error, with its exit code.
func (p *publishing) verdict(ctx context.Context, failed error) error {
	r := &p.result
	if r.Interrupted {
		return exit.New(exit.OfSignal(ctx), "", fmt.Errorf("interrupted: %s accepted", plural(r.Accepted, "message")))
	}
	if failed == nil && r.Invalid == 0 && r.Dead == 0 {
		return nil
	}
	code, hint := exit.Failed, ""
	if failed == nil {
		failed = r.left()
	} else {
		known := exit.Diagnose(failed, p.address)
		code, hint = exit.CodeOf(ctx, known), hintOf(known)
		if errors.Is(failed, core.ErrInvalidMessage) && r.Invalid == 0 {
			code = exit.Usage // the topic, an attribute or a time
		}
	}
	if r.Accepted > r.Dead {
		code = exit.Partly
	}
	return exit.New(code, hint, failed)
}

// left returns the messages that were not published if nothing else ended the publish.
func (r *publishResult) left() error {
	switch skipped, refused := plural(r.Invalid, "invalid line"), plural(r.Dead, "message"); {
	case r.Dead == 0:
		return fmt.Errorf("%s skipped", skipped)
	case r.Invalid == 0:
		return fmt.Errorf("%s refused by the server", refused)
	default:
		return fmt.Errorf("%s skipped, %s refused by the server", skipped, refused)
	}
}
