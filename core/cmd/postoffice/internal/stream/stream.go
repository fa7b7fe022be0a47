// Package stream publishes the lines of an input in bulk requests while it reads them,
// and shows the progress on a terminal. Memory is bounded, however long the lines are.
//
// It keeps one chunk of lines in memory and sends it before it reads further lines. A
// chunk is sent when it is full, when its first line has waited for Linger, and at the
// end of the input. Each line has one outcome: it was accepted, it was not accepted, it
// is not a message, or it was not tried.
package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// Linger is the maximum time that a line waits for further lines.
const Linger = 200 * time.Millisecond

// Publisher publishes messages in bulk, as [core.Client] does.
type Publisher interface {
	PublishBulk(ctx context.Context, topic string, payloads []any, options ...core.PublishOption) (core.Receipt, error)
}

// Options configures [Run]. Topic, Limit and Bytes are required.
type Options struct {
	// Topic and Publish are the arguments of PublishBulk.
	Topic   string
	Publish []core.PublishOption
	// Limit is the number of lines, and Bytes the number of bytes, that makes a
	// chunk full.
	Limit, Bytes int
	// SkipInvalid skips lines that are not messages, and messages that the server
	// rejects, and continues. Defaults to false: such a line ends Run.
	SkipInvalid bool
	// OnInvalid is called for each line that is not a message. Optional.
	OnInvalid func(line int, err error)
	// OnStored is called with the ids of messages that were stored. Optional.
	OnStored func(ids []string)
	// OnProgress is called after each chunk with the number of messages accepted and
	// of bytes of the input processed so far. Optional.
	OnProgress func(accepted int, bytes int64)
}

// Report is the outcome of an input.
type Report struct {
	// Accepted is the number of messages that were delivered or stored, Invalid the
	// number of lines that are not messages.
	Accepted, Invalid int
	// NotAccepted are the lines that were tried but neither delivered nor stored. If
	// the server did not respond, some may have been delivered nevertheless.
	NotAccepted Ranges
	// NextLine is the first line that was not tried; zero if the input was read to its
	// end.
	NextLine int
	// Err is the first reason why lines were not accepted or not tried. Nil if lines
	// were only skipped, or the context ended.
	Err error
}

// Run publishes an input until its end, until a message is not accepted, or until the
// context ends. It then waits for the request in progress, so that its outcome is known.
// If Run returns before the end of the input, a goroutine may still wait for the next
// line; it ends when the line arrives or the input is closed.
func Run(ctx context.Context, publisher Publisher, input io.Reader, options Options) Report {
	s := &sender{publisher: publisher, options: options}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	source := read(reading, input)
	for more := true; more; {
		var chunk []Line
		chunk, more = s.collect(ctx, source)
		if ctx.Err() != nil {
			s.stopBefore(chunk)
			break
		}
		if !s.send(ctx, chunk) {
			break
		}
		if s.failed != nil {
			s.report.Err = cmp.Or(s.report.Err, s.failed)
			s.report.NextLine = s.last + 1
		}
	}
	return s.report
}

// item is a line or a read error.
type item struct {
	line Line
	err  error
}

// read sends lines to the channel until the input or the context ends.
func read(ctx context.Context, input io.Reader) <-chan item {
	items := make(chan item)
	go func() {
		defer close(items)
		reader := NewReader(input)
		for {
			line, err := reader.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			select {
			case items <- item{line, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return items
}

// sender publishes chunks and records their outcomes.
type sender struct {
	publisher Publisher
	options   Options
	report    Report
	// last is the last line with an outcome.
	last int
	// failed is the read error of the input.
	failed error
}

// collect waits for the lines of a chunk. It reports whether there may be more.
func (s *sender) collect(ctx context.Context, source <-chan item) (chunk []Line, more bool) {
	var late <-chan time.Time
	bytes := 0
	for len(chunk) < s.options.Limit && bytes < s.options.Bytes {
		select {
		case <-ctx.Done():
			return chunk, false
		case <-late:
			return chunk, true
		case next, ok := <-source:
			switch {
			case !ok:
				return chunk, false
			case next.err != nil:
				s.failed = &ReadError{next.err}
				return chunk, false
			}
			chunk = append(chunk, next.line)
			bytes += len(next.line.Text)
			if late == nil {
				late = time.After(Linger)
			}
		}
	}
	return chunk, true
}

// ReadError is a read error of the input.
type ReadError struct{ Err error }

// Error returns the text of the error.
func (e *ReadError) Error() string { return "reading the input failed: " + e.Err.Error() }

// Unwrap returns the error of the input.
func (e *ReadError) Unwrap() error { return e.Err }

// stopBefore records that a chunk was not tried.
func (s *sender) stopBefore(chunk []Line) {
	s.report.NextLine = s.last + 1
	if len(chunk) > 0 {
		s.report.NextLine = chunk[0].Number
	}
}

// send publishes a chunk. It reports whether to continue.
func (s *sender) send(ctx context.Context, chunk []Line) bool {
	if len(chunk) > 0 {
		s.last = chunk[len(chunk)-1].Number
	}
	rest, bad := s.valid(chunk)
	for {
		receipt, err := s.publish(ctx, rest)
		if at, problem, ok := InvalidPayload(err); ok && at < len(rest) {
			found := &InvalidLineError{rest[at].Number, Explain(rest[at].Text, problem)}
			if s.options.SkipInvalid {
				s.skip(found)
				rest = append(rest[:at:at], rest[at+1:]...)
			} else {
				rest, bad = rest[:at], found
			}
			continue
		}
		return s.settle(rest, receipt, err) && s.meet(bad)
	}
}

// valid returns the lines to publish: with SkipInvalid all readable lines, otherwise the
// lines before the first unreadable one, which it returns as bad.
func (s *sender) valid(chunk []Line) (rest []Line, bad *InvalidLineError) {
	for _, line := range chunk {
		if line.Err == nil {
			rest = append(rest, line)
			continue
		}
		found := &InvalidLineError{line.Number, line.Err}
		if !s.options.SkipInvalid {
			return rest, found
		}
		s.skip(found)
	}
	return rest, nil
}

// skip records a line that is not a message.
func (s *sender) skip(found *InvalidLineError) {
	s.report.Invalid++
	if s.options.OnInvalid != nil {
		s.options.OnInvalid(found.Line, found.Err)
	}
}

// meet records the invalid line that ends Run, if there is one. It reports whether to
// continue.
func (s *sender) meet(bad *InvalidLineError) bool {
	if bad == nil {
		return true
	}
	s.skip(bad)
	s.report.Err = bad
	s.report.NextLine = bad.Line
	return false
}

func (s *sender) publish(ctx context.Context, chunk []Line) (core.Receipt, error) {
	if len(chunk) == 0 {
		return core.Receipt{}, nil
	}
	payloads := make([]any, len(chunk))
	for i, line := range chunk {
		payloads[i] = json.RawMessage(line.Text)
	}
	return s.publisher.PublishBulk(ctx, s.options.Topic, payloads, s.options.Publish...)
}

// settle records the outcomes of lines that were published. It reports whether to
// continue.
func (s *sender) settle(published []Line, receipt core.Receipt, err error) bool {
	if len(published) == 0 {
		return true
	}
	if errors.Is(err, core.ErrInvalidMessage) {
		// The topic or an option is invalid: nothing was tried.
		s.report.Err, s.report.NextLine = err, published[0].Number
		return false
	}
	if len(receipt.IDs) > 0 && s.options.OnStored != nil {
		s.options.OnStored(receipt.IDs)
	}
	failed := notAccepted(err, len(published))
	for _, i := range failed {
		s.report.NotAccepted.add(published[i].Number)
	}
	s.report.Accepted += len(published) - len(failed)
	last := published[len(published)-1]
	if s.options.OnProgress != nil {
		s.options.OnProgress(s.report.Accepted, last.End)
	}
	if err == nil {
		return true
	}
	if s.report.Err == nil {
		s.report.Err = err
	}
	// If the server accepts other messages, it refuses only these.
	refused, permanent := exit.RefusedByServer(err)
	if s.options.SkipInvalid && refused && (permanent || len(failed) < len(published)) {
		return true
	}
	s.report.NextLine = last.Number + 1
	return false
}

// notAccepted returns which of n payloads were not accepted.
func notAccepted(err error, n int) []int {
	if err == nil {
		return nil
	}
	if partial, ok := errors.AsType[*core.PartialError](err); ok {
		return partial.Indexes
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
