package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Goroutine is the name of the function whose goroutine waits for the end of a
// server, for goleak.IgnoreAnyFunction.
const Goroutine = "github.com/postoffice-go/postoffice/core/internal/testdb.(*process).supervise"

// process is a running or ended program. The methods running and output may be
// called on nil, which means never started.
type process struct {
	command *exec.Cmd
	log     string
	offset  int64 // the beginning of its part of the log

	done chan struct{} // closed when it has ended
	err  error         // its error, if any; set before done is closed
}

// launch starts a program as the owner of the directory. Its output is appended to a
// log file. On Linux it gets the signal when this process ends.
func launch(dir *directory, death syscall.Signal, log string, variables []string, program string, arguments ...string) (_ *process, err error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The program must not end with a context.
	command := exec.CommandContext(context.Background(), program, arguments...)
	command.Dir = dir.path
	command.Env = variables
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = attributes(dir.owner, death)
	p := &process{command: command, log: log, offset: info.Size(), done: make(chan struct{})}
	started := make(chan error)
	go p.supervise(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return p, nil
}

// supervise starts the program and waits for its end. Linux sends the death signal
// when the thread that started the program ends, so the goroutine keeps its thread
// until then.
func (p *process) supervise(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.command.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.command.Wait()
	close(p.done)
}

func (p *process) pid() int { return p.command.Process.Pid }

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// output returns the end of the program's output.
func (p *process) output() string {
	if p == nil {
		return ""
	}
	return tail(p.log, p.offset)
}

// says reports whether the program has recently printed a text.
func (p *process) says(text string) bool { return strings.Contains(p.output(), text) }

// kill kills the program and waits for its end.
func (p *process) kill() {
	_ = p.command.Process.Kill() // fails if the program has ended
	<-p.done
}

// end asks the program to end and waits for it. When the context ends, the program
// is killed.
func (p *process) end(ctx context.Context, signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	proceed(p.pid()) // the program may be paused
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		output := p.output()
		return errors.Join(fmt.Errorf("no end after the signal %q: %w\n%s", signal, ctx.Err(), output), p.killAll())
	}
}

// killAll kills the program and its descendants and waits for their end.
func (p *process) killAll() error {
	doomed, err := p.freeze()
	if err != nil {
		return err
	}
	for _, pid := range doomed {
		kill(pid)
	}
	p.kill()
	return awaitTable(func(table map[int]entry) bool {
		for _, pid := range doomed {
			// A zombie waits for its new parent and holds no resources.
			if entry, found := table[pid]; found && entry.state != 'Z' {
				return false
			}
		}
		return true
	})
}

// freeze stops the program and returns its descendants. A stopped process creates no
// more children. The process group does not identify them, because each creates its
// own.
func (p *process) freeze() (children []int, err error) {
	pause(p.pid())
	err = awaitTable(func(table map[int]entry) bool {
		children = descendants(table, p.pid())
		return !p.running() || table[p.pid()].state == 'T'
	})
	return children, err
}

// pauseAll stops the program and its descendants.
func (p *process) pauseAll() error {
	children, err := p.freeze()
	for _, pid := range children {
		pause(pid)
	}
	return err
}

// continueAll continues the program and its descendants.
func (p *process) continueAll() error {
	table, err := processTable()
	for _, pid := range append(descendants(table, p.pid()), p.pid()) {
		proceed(pid)
	}
	return err
}

// awaitTable waits until the process table meets a condition.
func awaitTable(condition func(map[int]entry) bool) error {
	deadline := time.After(patience)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		table, err := processTable()
		if err != nil || condition(table) {
			return err
		}
		select {
		case <-ticker.C:
		case <-deadline:
			return errors.New("the processes of the server do not end")
		}
	}
}

// entry is a process in the process table.
type entry struct {
	parent int
	state  byte // as in ps: T is stopped, Z is a zombie
}

// descendants returns the direct and indirect children of a process.
func descendants(table map[int]entry, ancestor int) []int {
	var found []int
	for pid, entry := range table {
		if entry.parent == ancestor {
			found = append(append(found, pid), descendants(table, pid)...)
		}
	}
	return found
}
