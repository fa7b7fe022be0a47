//go:build unix && !linux

package testdb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"syscall"
)

// attributes make a program run as a user, or the current one for nil. It does not
// end with the process that starts it.
func attributes(user *account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: user}
}

// processTable returns the processes of the machine by their IDs.
func processTable() (map[int]entry, error) {
	output, err := exec.CommandContext(context.Background(), "ps", "-A", "-o", "pid=,ppid=,state=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	table := make(map[int]entry)
	lines := bufio.NewScanner(bytes.NewReader(output))
	for lines.Scan() {
		var pid, parent int
		var state string
		if _, err := fmt.Sscan(lines.Text(), &pid, &parent, &state); err != nil {
			return nil, fmt.Errorf("ps: %q: %w", lines.Text(), err)
		}
		table[pid] = entry{parent: parent, state: state[0]}
	}
	return table, lines.Err()
}
