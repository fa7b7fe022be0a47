// Package stream publishes the lines of an input, as they come, in requests
// of many messages, and shows on a terminal how far it is. Lines are read in
// bounded memory, however long they are.
//
// It holds one chunk of lines in memory, and sends it before it reads on. A
// chunk is sent when it is full, when its first line has waited for Linger,
// and at the end of the input. What became of each line is known at every
// moment: a line was accepted, was not accepted, is no message, or was not
// tried.
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

// Linger is how long a line waits for more before it is sent.
const Linger = 200 * time.Millisecond

// Publisher publishes many messages, as [core.Client] does.
type Publisher interface {
	PublishBulk(ctx context.Context, topic string, payloads []any, options ...core.PublishOption) (core.Receipt, error)
}

// Options says how to publish. All fields but the functions are required.
type Options struct {
	// Topic and Publish are the arguments of PublishBulk.
	Topic   string
	Publish []core.PublishOption
	// Limit is how many lines make a chunk full, Bytes how many bytes of
	// lines.
	Limit, Bytes int
	// SkipInvalid goes on after a line that is no message.
	SkipInvalid bool
	// OnInvalid is called for each line that is no message.
	OnInvalid func(line int, err error)
	// OnStored is called with the ids of messages that were stored.
	OnStored func(ids []string)
	// OnProgress is called after each chunk with how many messages were
	// accepted, and how many bytes of the input read, so far.
	OnProgress func(accepted int, bytes int64)
}

// Report tells what became of an input.
type Report struct {
	// Accepted counts the messages that were delivered or stored, Invalid
	// the lines that are no messages.
	Accepted, Invalid int
	// NotAccepted are the lines that were tried and neither delivered nor
	// stored. Without an answer of the server some may have arrived.
	NotAccepted Ranges
	// NextLine is the first line that was not tried; zero when the input was
	// read to its end.
	NextLine int
	// Err is why lines were not accepted or not tried: the first such
	// reason. Nil if lines were only skipped, and when the context ended.
	Err error
}

// Run publishes an input until its end, until a message is not accepted, or
// until the context ends. Then the request under way is still waited for, so
// that its fate is known. When Run returns before the end of the input, a
// goroutine may be left that waits for the input's next line; it ends with
// that, or when the input is closed.
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

// item is a line, or why there is none.
type item struct {
	line Line
	err  error
}

// read hands over lines until the input or the context ends.
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

// sender publishes chunks and notes what became of them.
type sender struct {
	publisher Publisher
	options   Options
	report    Report
	// last is the last line that was done with, whatever became of it.
	last int
	// failed is why the input cannot be read any further.
	failed error
}

// collect waits for lines until they make a chunk. It tells whether there may
// be more.
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

// ReadError says that the input cannot be read any further.
type ReadError struct{ Err error }

// Error tells why.
func (e *ReadError) Error() string { return "the input cannot be read any further: " + e.Err.Error() }

// Unwrap returns the error of the input.
func (e *ReadError) Unwrap() error { return e.Err }

// stopBefore notes that a chunk is not tried any more.
func (s *sender) stopBefore(chunk []Line) {
	s.report.NextLine = s.last + 1
	if len(chunk) > 0 {
		s.report.NextLine = chunk[0].Number
	}
}

// send publishes a chunk. It tells whether to go on.
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

// valid returns the lines to publish: all that can be read if invalid ones
// are skipped, those before the first one that cannot otherwise.
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

// skip notes a line that is no message.
func (s *sender) skip(found *InvalidLineError) {
	s.report.Invalid++
	if s.options.OnInvalid != nil {
		s.options.OnInvalid(found.Line, found.Err)
	}
}

// meet notes the line that ends it all, if there is one, and tells whether
// there is none.
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

// settle notes what became of the lines that were published, and tells
// whether to go on.
func (s *sender) settle(published []Line, receipt core.Receipt, err error) bool {
	if len(published) == 0 {
		return true
	}
	if errors.Is(err, core.ErrInvalidMessage) {
		// The topic or an option is at fault: nothing was tried.
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
	// Where the server takes other messages, it is these that it refuses.
	refused, forGood := exit.RefusedByServer(err)
	if s.options.SkipInvalid && refused && (forGood || len(failed) < len(published)) {
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
