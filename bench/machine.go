package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// loadAverage gives /proc/loadavg's three means, and whether the mean of the
// last minute says that others use a quarter of a CPU or more per two CPUs.
func loadAverage() (text string, busy bool) {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown", false
	}
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "unknown", false
	}
	last, err := strconv.ParseFloat(f[0], 64)
	return strings.Join(f[:3], " "), err == nil && last > 0.125*float64(runtime.NumCPU())
}

// cpuTimes is the first line of /proc/stat, in ticks (proc(5)).
type cpuTimes struct{ total, steal uint64 }

func readCPUTimes() cpuTimes {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return parseCPUTimes(line)
}

// parseCPUTimes sums user, nice, system, idle, iowait, irq, softirq and steal;
// the guest columns behind them are part of user and nice.
func parseCPUTimes(line string) cpuTimes {
	var t cpuTimes
	f := strings.Fields(line)
	for i := 1; i < len(f) && i <= 8; i++ {
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			return cpuTimes{}
		}
		t.total += n
		if i == 8 {
			t.steal = n
		}
	}
	return t
}

// stealUntil is the share of all CPU time that the hypervisor gave to others.
func (t cpuTimes) stealUntil(later cpuTimes) float64 {
	if later.total <= t.total {
		return 0
	}
	return float64(later.steal-t.steal) / float64(later.total-t.total)
}

// gatewayVersion is the first line of `gateway version`.
func gatewayVersion(ctx context.Context, bin string) (string, error) {
	out, err := exec.CommandContext(ctx, bin, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", bin, err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first, nil
}
