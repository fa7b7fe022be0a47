package testdb

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// attributes make a program run as a user, or the current one for nil, and get a
// signal when the thread that starts it ends.
func attributes(user *account, death syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: user, Pdeathsig: death}
}

// processTable returns the processes of the machine by their IDs.
func processTable() (map[int]entry, error) {
	files, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	table := make(map[int]entry)
	for _, file := range files {
		pid, err := strconv.Atoi(file.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + file.Name() + "/stat")
		if err != nil {
			continue // the process has ended
		}
		// PID (NAME) STATE PARENT …, where the name may contain any character.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return nil, fmt.Errorf("process %d: unknown status %q", pid, stat)
		}
		parent, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			return nil, fmt.Errorf("process %d: unknown status %q", pid, stat)
		}
		table[pid] = entry{parent: parent, state: fields[0][0]}
	}
	return table, nil
}
