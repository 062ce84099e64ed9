package kit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// command is a process to start.
type command struct {
	name  string // for messages
	path  string
	args  []string
	env   []string // added to a minimal environment
	dir   string
	as    account
	death syscall.Signal // sent to it when we die
}

// process is a running part. Its goroutine, wait, ends with the process.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed once it ended
}

func start(c command) (*process, error) {
	p := &process{name: c.name, log: &logBuffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(c.path, c.args...)
	p.cmd.Dir = c.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + c.dir, "TZ=UTC"}, c.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	// Grandchildren hold the pipe a little longer than the process lives.
	p.cmd.WaitDelay = 2 * time.Second
	// Its own process group: Ctrl-C at a terminal reaches only us, who then end the parts in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: c.death, Credential: c.as.cred}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	_ = p.cmd.Wait() // the state is read from ProcessState
	close(p.done)
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal does nothing to an ended process.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// stop sends sig, waits, and after the time given kills. It returns the exit
// code, -1 for a death by signal.
func (p *process) stop(sig syscall.Signal, patience time.Duration) int {
	p.signal(sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process and its descendants at once and waits.
func (p *process) kill() {
	for _, pid := range descendants(p.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// children maps each process to its children, as /proc shows them now.
func children() map[int][]int {
	entries, _ := os.ReadDir("/proc")
	all := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The command's name stands in parentheses and may hold anything; after the last one: state, ppid.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		ppid, _ := strconv.Atoi(fields[1])
		all[ppid] = append(all[ppid], pid)
	}
	return all
}

// descendants lists the children of a process and theirs.
func descendants(root int) []int {
	tree := children()
	all := append([]int{}, tree[root]...)
	for i := 0; i < len(all); i++ {
		all = append(all, tree[all[i]]...)
	}
	return all
}

// errEnded says that a part ended before it was ready.
var errEnded = errors.New("it ended")

// ready calls probe until it returns nil, the process ends or 30 s pass.
func (p *process) ready(probe func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := probe()
		if err == nil {
			return nil
		}
		if !p.running() {
			return errEnded
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// logBuffer keeps the last MiB that a part wrote.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

const maxLog = 1 << 20

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if over := len(l.text) - 2*maxLog; over > 0 {
		l.text = append(l.text[:0], l.text[len(l.text)-maxLog:]...)
	}
	return len(b), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// tail returns the last n lines.
func (l *logBuffer) tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
